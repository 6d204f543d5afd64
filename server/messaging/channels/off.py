"""A channel that this installation did not set up."""

from __future__ import annotations

from django.utils.translation import gettext as _

from server.core.work import PermanentFailure
from server.messaging.channels import Sent
from server.messaging.models import Delivery


class OffChannel:
    """Says what is missing; routes make no deliveries for it."""

    def __init__(self, name: str, setting: str) -> None:
        self.name = name
        self._setting = setting

    def send(self, delivery: Delivery) -> Sent:
        """Raises PermanentFailure."""
        raise PermanentFailure(_("未设置此渠道（%(setting)s）") % {"setting": self._setting})
