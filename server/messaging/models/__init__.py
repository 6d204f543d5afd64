"""Devices of people, chat groups, notices and their deliveries."""

from server.messaging.models.devices import ClockReading, Device
from server.messaging.models.escalation import Escalation, EscalationRule, EscalationStep
from server.messaging.models.groups import ChatGroup
from server.messaging.models.notices import Delivery, Notice
from server.messaging.models.reminders import Reminder
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
    "Notice",
    "Reminder",
]
