"""What the console's templates need: badges, moments, and looking things up."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from django import template
from django.db.models.options import Options
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timesince import timesince
from django.utils.translation import gettext as _

from server.activities.models import Visit
from server.console import states
from server.core import clock
from server.evidence import sentences
from server.evidence.models import Flag
from server.evidence.sentences import sentence
from server.findings.models import Finding
from server.messaging.models import Delivery

register = template.Library()


@register.filter
def badge(row: Visit | Finding | Delivery) -> SafeString:
    """The state of a visit, a finding or a delivery, in its colour."""
    if isinstance(row, Visit):
        return states.visit_shown(row).badge
    if isinstance(row, Finding):
        return states.finding_shown(row).badge
    return states.delivery_shown(row).badge


@register.filter
def channel_word(name: str) -> str:
    """A channel of notices, as people read it."""
    return str(Delivery.Channel(name).label)


@register.filter
def severity(row: Finding) -> SafeString:
    """How bad a finding is."""
    return states.badge(Finding.Severity(row.severity))


@register.filter
def flag_badge(flag: Flag) -> SafeString:
    """A flag's word: amber for what is to be explained, grey for a hint and for what was cleared."""
    return states.flag_shown(flag).badge


@register.filter
def flag_sentence(flag: Flag) -> str:
    """What contradicts what."""
    return sentence(flag)


@register.filter
def moment(value: datetime | None) -> SafeString | str:
    """A moment: relative, with the exact one on hover and for machines."""
    if value is None:
        return "—"
    local = timezone.localtime(value)
    exact = f"{local:%Y-%m-%d %H:%M}"
    age = clock.now() - value
    if age.days >= 7:
        words = exact
    elif age < timedelta(minutes=1):
        words = _("刚刚")
    else:
        words = _("%(time)s前") % {"time": timesince(value, depth=1)}
    return format_html(
        '<time datetime="{}" title="{}">{}</time>',
        local.isoformat(timespec="seconds"),
        exact,
        words,
    )


@register.filter
def stamp(value: datetime) -> SafeString:
    """A moment of evidence, exact; on a narrow screen without its year."""
    local = timezone.localtime(value)
    return format_html(
        '<time datetime="{}"><span class="dx-year">{}-</span>{}</time>',
        local.isoformat(timespec="seconds"),
        local.year,
        f"{local:%m-%d %H:%M}",
    )


@register.filter
def length_m(metres: float) -> str:
    """A length in metres, in words."""
    return sentences.metres(metres)


@register.filter
def at(mapping: Mapping[Any, Any], key: Any) -> Any:
    """The value of a key, or nothing."""
    return mapping.get(key)


@register.filter
def unlocal(number: float, plus: float = 0) -> str:
    """A number for CSS and SVG: with a point, whatever the language."""
    return f"{number + plus:.2f}"


@register.filter
def admin_do(opts: Options[Any]) -> str:
    """The name of the address that a page's buttons post to."""
    return f"admin:{opts.app_label}_{opts.model_name}_do"
