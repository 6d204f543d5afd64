"""Devices of people, chat groups, notices and their deliveries."""

from server.messaging.models.devices import ClockReading, Device
from server.messaging.models.groups import ChatGroup
from server.messaging.models.notices import Delivery, Notice
from server.messaging.models.tickets import Ticket

__all__ = ["ChatGroup", "ClockReading", "Delivery", "Device", "Notice", "Ticket"]
