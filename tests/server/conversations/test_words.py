"""Cleaning what people write, and the digest by which a repetition is known."""

from __future__ import annotations

import unicodedata
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.conversations.words import clean, digest_of

ID = UUID(int=7)


@given(st.text())
def test_a_cleaned_text_is_clean(text):
    cleaned = clean(text)
    assert clean(cleaned) == cleaned == cleaned.strip()
    kinds = {unicodedata.category(each) for each in cleaned if each not in "\n\t\u200d"}
    assert not kinds & {"Cc", "Cf"}


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("一\r\n二\r三\u2028四", "一\n二\n三\n四"),
        ("\u202e倒过来\u202c", "倒过来"),
        ("a\x00b\x1b[31m", "ab[31m"),
        ("👩\u200d🏫 ، العربية", "👩\u200d🏫 ، العربية"),
        (" \u200b\ufeff ", ""),
    ],
)
def test_what_nobody_sees_goes(written, kept):
    assert clean(written) == kept


def test_the_digest_knows_what_was_sent():
    one, other = uuid4(), uuid4()
    digest = digest_of(message_id=ID, text="好", mentions=[one, other], media=[one, other])
    assert digest == digest_of(
        message_id=ID, text="好", mentions=[other, one, one], media=[one, other]
    )
    different = [
        digest_of(message_id=ID, text="好。", mentions=[one, other], media=[one, other]),
        digest_of(message_id=ID, text="好", mentions=[one], media=[one, other]),
        digest_of(message_id=ID, text="好", mentions=[one, other], media=[other, one]),
        digest_of(message_id=one, text="好", mentions=[one, other], media=[one, other]),
    ]
    assert len({digest, *different}) == 5
