"""Originals, retention, exports, storage use."""

from __future__ import annotations

from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from media_storage.models import MediaObject
from mobile_api.serializers.common import Shape
from server.activities.services.planning import MAX_KEEP_DAYS
from server.care.certificates import deletion_certificates_of
from server.care.models import Export


class OriginalIn(Shape):
    reason = serializers.CharField(
        max_length=500, allow_blank=True, default="", help_text="Kept in the audit log."
    )


class OpenedOut(Shape):
    url = serializers.CharField()
    expires_at = serializers.DateTimeField(help_text="The address works until then; ask again.")


class RetentionIn(Shape):
    """For how long an activity's photos are kept: days after its end, or a day; neither: for ever."""

    keep_media_days = serializers.IntegerField(
        min_value=1, max_value=MAX_KEEP_DAYS, required=False, allow_null=True, default=None
    )
    until = serializers.DateField(required=False, allow_null=True, default=None)
    reason = serializers.CharField(max_length=500)


class ExportIn(Shape):
    """`id` makes a repeated request harmless. Originals need the right to them, and a reason."""

    id = serializers.UUIDField()
    variant = serializers.ChoiceField(choices=Export.Variant.choices)
    reason = serializers.CharField(max_length=500, allow_blank=True, default="")


class ExportOut(Shape):
    id = serializers.UUIDField()
    activity_id = serializers.UUIDField()
    variant = serializers.ChoiceField(choices=Export.Variant.choices)
    state = serializers.ChoiceField(choices=Export.State.choices)
    total = serializers.IntegerField(help_text="Files to pack.")
    done = serializers.IntegerField(help_text="Files packed so far.")
    skipped = serializers.IntegerField(help_text="Files that the manifest names with a reason.")
    size = serializers.IntegerField(help_text="Bytes of the ZIP; 0 until it is ready.")
    sha256 = serializers.CharField(allow_blank=True, help_text="Of the ZIP.")
    requested_at = serializers.DateTimeField()
    ready_at = serializers.DateTimeField(allow_null=True)
    expires_at = serializers.DateTimeField(allow_null=True, help_text="When it is deleted.")
    url = serializers.SerializerMethodField(
        help_text="Of one's own export that is ready, when it is asked for by its id. Lasts minutes; "
        "each one is in the audit log."
    )

    @extend_schema_field(serializers.CharField(allow_null=True))
    def get_url(self, export: Export) -> str | None:
        return self.context.get("url")


class StorageQuery(Shape):
    area = serializers.UUIDField(required=False)
    activity = serializers.UUIDField(required=False)

    lookups: ClassVar = {"activity": "activity_id"}


class FiguresOut(Shape):
    """`size` and `rendition_size` are bytes."""

    files = serializers.IntegerField()
    size = serializers.IntegerField()
    renditions = serializers.IntegerField()
    rendition_size = serializers.IntegerField()


class _LineOut(Shape):
    figures = FiguresOut()


class NamedFiguresOut(_LineOut):
    id = serializers.UUIDField(allow_null=True, help_text="null: what belongs to none.")
    name = serializers.CharField()


class StateFiguresOut(_LineOut):
    state = serializers.ChoiceField(source="id", choices=MediaObject.State.choices)


class StorageOut(Shape):
    """Kept while things change: `as_of` is the last time that there was anything to count."""

    as_of = serializers.DateTimeField(allow_null=True)
    total = FiguresOut()
    activities = NamedFiguresOut(many=True)
    schools = NamedFiguresOut(many=True)
    states = StateFiguresOut(many=True)


class DeletedOut(Shape):
    """Why a file is gone: the certificate of its deletion."""

    certificate = serializers.CharField(source="number")
    rule = serializers.CharField(help_text="`retention` or `request`.")
    deleted_at = serializers.DateTimeField()
    certificate_sha256 = serializers.CharField(source="document_sha256")


def deleted_of(media: MediaObject) -> dict[str, Any] | None:
    """DeletedOut of a file that was deleted; None for any other, and while the bytes are going."""
    if media.state != MediaObject.State.DELETED:
        return None
    certificate = deletion_certificates_of([media.pk]).get(media.pk)
    return dict(DeletedOut(certificate).data) if certificate else None
