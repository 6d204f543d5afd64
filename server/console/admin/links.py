"""Links to rows, and terms as people read them."""

from __future__ import annotations

from datetime import date
from typing import Any

from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from server.console.states import AMBER, GREEN, GREY, Shown
from server.core.clock import today


def page_link(row: Any, words: object = "") -> SafeString:
    """A link to the page of a row."""
    meta = row._meta
    address = reverse(f"admin:{meta.app_label}_{meta.model_name}_change", args=[row.pk])
    return format_html('<a class="dx-link" href="{}">{}</a>', address, words or row)


def links(rows: Any) -> SafeString:
    """Links to the pages of rows, or a dash."""
    return format_html_join("、", "{}", ((page_link(row),) for row in rows)) or SafeString("—")


def term_shown(starts: date, ends: date | None) -> Shown:
    """Whether a term is to come, holds, or is over."""
    if starts > today():
        return Shown(GREY, _("未开始"))
    if ends and ends < today():
        return Shown(GREY, _("已结束"))
    if ends and (ends - today()).days <= 60:
        return Shown(AMBER, _("在任，将到期"))
    return Shown(GREEN, _("在任"))
