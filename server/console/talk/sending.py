"""What a browser sends: a text with files in one form, stored once however often the form comes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid5

from django.core.files.uploadedfile import UploadedFile
from django.db import transaction
from django.utils.translation import gettext as _

from media_storage.models import MediaObject
from media_storage.services import discard, new_media_values, store_stream
from server.conversations.models import Message
from server.conversations.services import MAX_FILES, send_message
from server.core import work
from server.core.errors import Invalid, Problem
from server.grid.models import User


def send_from_form(
    *,
    conversation_id: UUID,
    message_id: UUID,
    by: User,
    text: str,
    mentions: Sequence[UUID],
    files: Sequence[UploadedFile[Any]],
) -> Message:
    """Store the files and write the message. Raises as `send_message`, and TooLarge.

    Files have ids that follow from the message and the bytes: a form that is sent twice is one message.
    """
    if len(files) > MAX_FILES:
        detail = _("一条消息最多附 %(n)s 个不同的文件。") % {"n": MAX_FILES}
        raise Invalid(problems=[Problem("/media", "max_length", detail)])
    media = [
        _stored(file, owner=by, message_id=message_id, position=position)
        for position, file in enumerate(files)
    ]
    message, _new = send_message(
        conversation_id=conversation_id,
        message_id=message_id,
        by=by,
        text=text,
        mentions=mentions,
        media=media,
    )
    return message


def _stored(file: UploadedFile[Any], *, owner: User, message_id: UUID, position: int) -> UUID:
    name = file.name or "file"
    stored = store_stream(filename=name, content_type=file.content_type or "", chunks=file.chunks())
    media_id = uuid5(message_id, f"{position} {stored.sha256}")
    with transaction.atomic():
        values = new_media_values(
            media_id=media_id, owner_id=owner.pk, filename=name, stored=stored
        )
        _media, created = MediaObject.objects.get_or_create(id=media_id, defaults=values)
        work.wake("media")
    if not created:
        discard(stored.key)
    return media_id
