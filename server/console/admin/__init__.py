"""The console's lists and pages, one module per kind; Django's autodiscovery imports this."""

from django.contrib import admin

from server.console.admin import (
    activities,
    areas,
    audit,
    care,
    chat_groups,
    findings,
    instruments,
    media,
    messaging,
    people,
    receipts,
    schools,
    submissions,
    terms,
    visits,
    webhooks,
)
from server.console.admin.base import ScopedAdmin

__all__ = [
    "activities",
    "areas",
    "audit",
    "care",
    "chat_groups",
    "findings",
    "instruments",
    "media",
    "messaging",
    "people",
    "receipts",
    "schools",
    "submissions",
    "terms",
    "visits",
    "webhooks",
]

# Libraries registered lists of their own before us; what nothing scopes is not shown.
for model, listed in list(admin.site._registry.items()):
    if not isinstance(listed, ScopedAdmin):
        admin.site.unregister(model)
