"""Devices of people, chat groups, notices with what belongs to them, and their deliveries."""

from server.messaging.models.devices import ClockReading, Device
from server.messaging.models.groups import ChatGroup
from server.messaging.models.notice_parts import (
    Newcomer,
    NewcomerFeed,
    NoticeAnswer,
    NoticeAttachment,
    NoticeDraft,
    NoticeVersion,
    PastReceipt,
    SavedAudience,
)
from server.messaging.models.notices import Delivery, Notice

__all__ = [
    "ChatGroup",
    "ClockReading",
    "Delivery",
    "Device",
    "Newcomer",
    "NewcomerFeed",
    "Notice",
    "NoticeAnswer",
    "NoticeAttachment",
    "NoticeDraft",
    "NoticeVersion",
    "PastReceipt",
    "SavedAudience",
]
