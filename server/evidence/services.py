"""What people say to flags."""

from __future__ import annotations

from uuid import UUID

from django.db import transaction
from django.utils.translation import gettext as _

from server.core.errors import ContentConflict, Invalid, NotAllowed, NotFound, Problem
from server.evidence.models import FlagNote
from server.evidence.queries import flags_explained_by, flags_visible_to
from server.evidence.telling import tell_phones
from server.grid.models import User

MAX_TEXT = 2000


@transaction.atomic
def explain_flag(*, flag_id: UUID, note_id: UUID, by: User, text: str) -> FlagNote:
    """Add an explanation to a flag, once for each id; it is kept with who and when, and never changed.

    Inspectors and offices may, also to a flag that does not stand any more. Raises NotFound,
    NotAllowed (a school), Invalid, ContentConflict.
    """
    flag = flags_visible_to(by).select_for_update(of=("self",)).filter(pk=flag_id).first()
    if flag is None:
        raise NotFound
    if not flags_explained_by(by).filter(pk=flag.pk).exists():
        raise NotAllowed(_("只有督学和督导办可以填写说明。"))
    text = text.strip()
    if not text:
        raise Invalid(problems=[Problem("/text", "required", _("请填写说明。"))])
    if len(text) > MAX_TEXT:
        detail = _("最多 %(n)d 个字，请缩短。") % {"n": MAX_TEXT}
        raise Invalid(problems=[Problem("/text", "too_long", detail)])
    note, is_new = FlagNote.objects.get_or_create(
        pk=note_id, defaults={"flag": flag, "by": by, "text": text}
    )
    if (note.flag_id, note.by_id, note.text) != (flag.pk, by.pk, text):
        raise ContentConflict(_("此编号已用于另一条说明。"))
    if is_new:
        tell_phones([flag])
    return note
