"""Texts that are cut to what a channel takes."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.messaging.channels.texts import (
    Text,
    clean,
    cut,
    fitted,
    in_json,
    text_of,
    utf8,
    utf16,
)
from server.messaging.services import notify

LINK = "https://duxue.example/go/finding/01234567-89ab-cdef-0123-456789abcdef"
MEASURES = [utf8, utf16, in_json]
texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=400)


@given(texts, st.integers(3, 300), st.sampled_from(MEASURES))
def test_a_cut_text_fits_and_begins_as_the_whole_one(text, limit, measure):
    found = cut(text, limit, measure)
    assert measure(found) <= limit
    if found != text:
        assert found.endswith("…")
        assert text.startswith(found[:-1])


@given(texts, texts, st.integers(120, 600), st.sampled_from(MEASURES))
def test_the_link_stays_whole_whatever_the_words(title, body, limit, measure):
    found = fitted(Text(title, body, LINK), limit, measure=measure)
    assert found.endswith(LINK)
    assert measure(found) <= limit


@pytest.mark.parametrize(
    ("text", "limit", "found"),
    [
        ("督导通知", 12, "督导通知"),
        ("督导通知", 11, "督导…"),
        ("督导通知", 8, "督…"),
        ("abc", 2, ""),
        ("", 10, ""),
    ],
)
def test_characters_are_not_broken(text, limit, found):
    assert cut(text, limit) == found


def test_a_family_is_not_torn_apart():
    family = "👩‍👩‍👧‍👦"
    assert cut(f"ab{family}", 2 + 3 + 10) == "ab…"
    accented = unicodedata.normalize("NFD", "é") * 3
    assert cut(accented, 3 + 4) == "e\u0301…"


def test_a_text_message_counts_what_lies_beyond_the_first_plane_twice():
    assert utf16("𠮷") == 2
    assert cut("𠮷" * 10, 9, utf16) == "𠮷" * 4 + "…"


def test_the_body_gives_way_before_the_title():
    found = fitted(Text("标题", "正文" * 500, LINK), 120)
    title, body, link = found.split("\n")
    assert (title, link) == ("标题", LINK)
    assert body.endswith("…")


def test_what_no_channel_carries_is_left_out():
    assert clean("a\x00b\x1b[31m\ud800c\nd\te\x85") == "ab[31mc\nd\te"


def test_a_message_that_carries_several_lists_them_and_leads_to_the_inbox(cast, settings):
    settings.PUBLIC_URL = "https://duxue.example"
    rows = []
    for title in ("例会", "培训"):
        notice = notify("announcement", recipients=[cast.ada], title=title, body="周三")
        rows.append(notice.deliveries.select_related("notice", "recipient").get())
    rows[0].carries = (rows[1],)
    said = text_of(rows[0], language="zh-hans")
    assert said == Text("2 条新通知", "例会\n培训", "https://duxue.example/inbox/")
