"""Devices of people, chat groups, notices with what belongs to them, and their deliveries."""

from server.messaging.models.devices import ClockReading, Device
from server.messaging.models.escalation import Escalation, EscalationRule, EscalationStep
from server.messaging.models.groups import ChatGroup
from server.messaging.models.hints import Hint
from server.messaging.models.notice_parts import (
    Newcomer,
    NoticeAnswer,
    NoticeAttachment,
    NoticeDraft,
    NoticeVersion,
    PastReceipt,
    SavedAudience,
)
from server.messaging.models.notices import Delivery, Notice
from server.messaging.models.preferences import Habit, HabitsUntil, Preference
from server.messaging.models.providers import Provider
from server.messaging.models.reminders import Reminder
from server.messaging.models.tickets import Ticket
from server.messaging.models.wording import EventWording

__all__ = [
    "ChatGroup",
    "ClockReading",
    "Delivery",
    "Device",
    "Escalation",
    "EscalationRule",
    "EscalationStep",
    "EventWording",
    "Habit",
    "HabitsUntil",
    "Hint",
    "Newcomer",
    "Notice",
    "NoticeAnswer",
    "NoticeAttachment",
    "NoticeDraft",
    "NoticeVersion",
    "PastReceipt",
    "Preference",
    "Provider",
    "Reminder",
    "SavedAudience",
    "Ticket",
]
