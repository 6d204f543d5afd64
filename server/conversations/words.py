"""What people write: cleaned of what nobody sees, and its digest, by which a repetition is known."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Sequence
from uuid import UUID

MAX_TEXT = 4000
"""Characters of one message."""

_BREAKS = re.compile("\r\n?|\u2028|\u2029|\x85")
_KEPT = "\n\t\u200d"
"""Control and format characters that a text keeps; the joiner is part of many emoji."""


def clean(text: str) -> str:
    """Without control characters, without marks that turn the direction of what follows or hide in it,
    with line feeds only, and without blank ends. The same text gives the same always."""
    text = _BREAKS.sub("\n", text)
    text = "".join(
        each for each in text if each in _KEPT or unicodedata.category(each) not in ("Cc", "Cf")
    )
    return text.strip()


def digest_of(
    *, message_id: UUID, text: str, mentions: Sequence[UUID], media: Sequence[UUID]
) -> str:
    """SHA-256 of what was sent under this id: the cleaned text, who is mentioned, which files in which
    order. It tells whether a text is the one that was sent; a short one can be found by trying."""
    content = {
        "id": str(message_id),
        "media": [str(each) for each in media],
        "mentions": sorted({str(each) for each in mentions}),
        "text": text,
    }
    canonical = json.dumps(content, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
