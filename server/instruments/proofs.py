"""Which question of a check-list a photo proves: our forms name it, others ask for it after an answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from server.instruments.compiled import ATTACHMENTS, SECTIONS, Field

WITHOUT_ANSWER = SECTIONS | ATTACHMENTS | {"note", "calculate", "hidden", "start", "end", "today"}


def proven_item(photo: Field, fields: Mapping[str, Field], reads: Iterable[str]) -> str:
    """The path of the question that is proven by what `photo` asks for, or its own path.

    By name: `licence_photo` stands beside `licence`. Else the question that decides whether the
    photo is asked for; `reads` are the paths in its relevance.
    """
    above, _slash, name = photo.path.rpartition("/")
    beside = [
        each.path
        for each in fields.values()
        if _has_answer(each)
        and each.path.rpartition("/")[0] == above
        and name.startswith(f"{each.name}_")
    ]
    asked_after = (path for path in reads if path in fields and _has_answer(fields[path]))
    return max(beside, key=len, default="") or next(iter(sorted(asked_after)), photo.path)


def _has_answer(field: Field) -> bool:
    return field.type not in WITHOUT_ANSWER
