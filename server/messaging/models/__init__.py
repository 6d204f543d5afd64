"""Devices of people, chat groups, notices and their deliveries."""

from server.messaging.models.devices import ClockReading, Device
from server.messaging.models.groups import ChatGroup
from server.messaging.models.hints import Hint
from server.messaging.models.notices import Delivery, Notice
from server.messaging.models.preferences import Habit, HabitsUntil, Preference
from server.messaging.models.providers import Provider

__all__ = [
    "ChatGroup",
    "ClockReading",
    "Delivery",
    "Device",
    "Habit",
    "HabitsUntil",
    "Hint",
    "Notice",
    "Preference",
    "Provider",
]
