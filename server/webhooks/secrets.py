"""An endpoint's secrets: sealed in the database, opened to sign, shown to people once."""

from __future__ import annotations

from datetime import datetime

from server.core.secrets import seal, unseal
from server.webhooks.models import WebhookEndpoint

PURPOSE = "webhook secret"


def sealed(secret: str) -> str:
    return seal(secret, purpose=PURPOSE)


def keys_of(endpoint: WebhookEndpoint, moment: datetime) -> list[str]:
    """The secrets that sign now: the current one, and for a while the one that it replaced.

    Raises SecretUnreadable.
    """
    keys = [unseal(endpoint.secret, purpose=PURPOSE)]
    if endpoint.old_secret_until and endpoint.old_secret_until > moment:
        keys.append(unseal(endpoint.old_secret, purpose=PURPOSE))
    return keys
