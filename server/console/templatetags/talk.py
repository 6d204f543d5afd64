"""What the templates of conversations need."""

from __future__ import annotations

from datetime import datetime

from django import template

from server.console.talk.showing import time_of

register = template.Library()


@register.filter
def clock_time(moment: datetime) -> str:
    """Hours and minutes at the county."""
    return time_of(moment)
