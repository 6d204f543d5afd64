"""Push of the embedded world: a line in the log, and a sent row that the console shows."""

from __future__ import annotations

import logging

from django.utils.translation import gettext as _

from server.messaging.channels import Sent
from server.messaging.message_text import text_of
from server.messaging.models import Delivery

logger = logging.getLogger(__name__)


class LogChannel:
    """Stands for FCM where PUSH_URL is log://."""

    name = "fcm"
    carries_many = True

    def send(self, delivery: Delivery) -> Sent:
        """Write the title only: the text may hold what a log must not."""
        logger.info("push to %s: %s", delivery.address, text_of(delivery).title)
        return Sent("sent", _("仅写入日志（PUSH_URL=log://）"))
