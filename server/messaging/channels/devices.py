"""What channels to devices share: the device of a delivery, as it is now."""

from __future__ import annotations

from django.utils.translation import gettext as _

from server.core import clock
from server.messaging.channels import NotAsked
from server.messaging.models import Delivery, Device


def device_of(delivery: Delivery, provider: str) -> Device:
    """The device, while it is still the recipient's, logged in, and pushed to by this provider.

    Raises NotAsked.
    """
    device = Device.objects.filter(
        pk=delivery.address,
        user=delivery.recipient,
        push_provider=provider,
        push_disabled_at=None,
        revoked_at=None,
        token_expires_at__gt=clock.now(),
    ).first()
    if device is None:
        raise NotAsked(_("此设备已退出登录或不再接收推送"))
    return device
