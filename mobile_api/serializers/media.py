"""Photos and files: declared, uploaded, ready."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from media_storage.models import Facts, MediaObject
from media_storage.services import readable_url
from mobile_api.serializers.care import DeletedOut, deleted_of
from mobile_api.serializers.common import Place, Shape, place_of
from mobile_api.serializers.evidence import MediaEvidence
from server.care.originals import READABLE
from server.sharing.showing import (
    Shown,
    may_open_original,
    pictures_for_reader,
    state_for_reader,
)

LINK = (
    "How the phone finds its line. `weak`: pieces of 256 KB, little is sent again after a break. "
    "`good`: the fewest requests."
)
LINKS = ["weak", "good"]


class UploadQuery(Shape):
    link = serializers.ChoiceField(choices=LINKS, required=False, default="", help_text=LINK)


class MediaIn(Shape):
    id = serializers.UUIDField()
    filename = serializers.CharField(max_length=255)
    content_type = serializers.CharField(max_length=100)
    size = serializers.IntegerField(max_value=2**62, help_text="Bytes.")
    sha256 = serializers.CharField(max_length=64)
    taken_at = serializers.DateTimeField(required=False, allow_null=True, default=None)
    location = Place(required=False, allow_null=True, default=None)
    link = serializers.ChoiceField(choices=LINKS, required=False, default="", help_text=LINK)
    origin = serializers.ChoiceField(
        choices=MediaObject.Origin.choices,
        required=False,
        default=MediaObject.Origin.UNKNOWN.value,
        help_text="Where the app has the file from; a photo of the gallery is flagged as such.",
    )


class PlaceBody(msgspec.Struct):
    """Place, as the hot path reads it."""

    lat: Annotated[float, msgspec.Meta(ge=-90, le=90)]
    lon: Annotated[float, msgspec.Meta(ge=-180, le=180)]
    accuracy_m: Annotated[float, msgspec.Meta(ge=0, le=1e8)] | None = None


Text = Annotated[str, msgspec.Meta(max_length=100, pattern=r"\A\S+\Z")]
Name = Annotated[str, msgspec.Meta(max_length=255, pattern=r"\A\S([^\r\n]*\S)?\Z")]


class MediaBody(msgspec.Struct):
    """MediaIn, as the hot path reads it: what it does not take, the serializer judges."""

    id: UUID
    filename: Name
    content_type: Text
    size: Annotated[int, msgspec.Meta(le=2**62)]
    sha256: Annotated[str, msgspec.Meta(min_length=64, max_length=64, pattern=r"\A\S+\Z")]
    taken_at: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    location: PlaceBody | None = None
    link: Literal["", "weak", "good"] = ""
    origin: Literal["", "camera", "gallery"] = ""


class PartOut(Shape):
    """PUT exactly the `size` bytes of the file that begin at `offset`, with these headers."""

    number = serializers.IntegerField()
    url = serializers.CharField()
    headers = serializers.DictField(child=serializers.CharField())
    size = serializers.IntegerField()
    offset = serializers.IntegerField()


class ReceivedOut(Shape):
    number = serializers.IntegerField()
    size = serializers.IntegerField()


class UploadOut(Shape):
    """`parts` are still missing, `received` have arrived."""

    strategy = serializers.ChoiceField(choices=["single", "multipart"])
    parts = PartOut(many=True)
    received = ReceivedOut(many=True)
    expires_at = serializers.DateTimeField()


class DeclaredOut(Shape):
    id = serializers.UUIDField(source="media.id")
    state = serializers.ChoiceField(source="media.state", choices=MediaObject.State.choices)
    upload = UploadOut()


class CompletedOut(Shape):
    """Forget the file when the state is none of `declared` and `arrived`."""

    id = serializers.UUIDField()
    state = serializers.ChoiceField(choices=MediaObject.State.choices)
    reason = serializers.CharField(source="reject_reason", help_text="Why it was rejected.")


class RenditionOut(Shape):
    """A smaller picture, upright and without metadata; the small one is there first."""

    name = serializers.CharField()
    width = serializers.IntegerField()
    height = serializers.IntegerField()
    content_type = serializers.CharField()
    url = serializers.SerializerMethodField(help_text="Lasts minutes; ask again.")

    def get_url(self, shown: Shown) -> str:
        return readable_url(shown.rendition, base_url=self.context["base_url"])


class CameraOut(Shape):
    """As the file names it; empty where it does not."""

    maker = serializers.CharField(source="camera_maker")
    model = serializers.CharField(source="camera_model")
    software = serializers.CharField()


class FactsOut(Shape):
    """What the file says of itself: data, no proof."""

    taken_at = serializers.DateTimeField(
        source="exif_at", allow_null=True, help_text="By the camera's clock."
    )
    has_zone = serializers.BooleanField(
        source="exif_has_zone",
        help_text="Whether the camera named its zone; else it is taken to be the server's.",
    )
    location = serializers.SerializerMethodField()
    camera = CameraOut(source="*")
    duration_ms = serializers.IntegerField(allow_null=True, help_text="Of video and sound.")
    pages = serializers.IntegerField(allow_null=True, help_text="Of a PDF.")

    @extend_schema_field(Place(allow_null=True))
    def get_location(self, facts: Facts) -> dict[str, float | None] | None:
        return place_of(facts)


class MediaOut(MediaEvidence):
    id = serializers.UUIDField()
    state = serializers.SerializerMethodField(
        help_text="`processing` as well while the shared copy, all that the reader may get, is made."
    )
    reason = serializers.CharField(source="reject_reason")
    note = serializers.CharField()
    filename = serializers.CharField()
    content_type = serializers.CharField()
    size = serializers.IntegerField()
    width = serializers.IntegerField(allow_null=True)
    height = serializers.IntegerField(allow_null=True)
    taken_at = serializers.DateTimeField(allow_null=True)
    location = serializers.SerializerMethodField()
    facts = FactsOut(allow_null=True, help_text="Null until it has been looked into.")
    url = serializers.SerializerMethodField(
        help_text="Always null: ask for the original by POST /media/{id}/original."
    )
    original = serializers.SerializerMethodField(
        help_text="Whether the asking person may open the original."
    )
    deleted = serializers.SerializerMethodField(
        help_text="Of a file that was deleted: its certificate. Null while the bytes are going."
    )
    renditions = serializers.SerializerMethodField(
        help_text="Whoever may open the original: small, large, shared. Others: small and shared, both "
        "with faces hidden where the instrument wants it."
    )

    @extend_schema_field(serializers.ChoiceField(choices=MediaObject.State.choices))
    def get_state(self, media: MediaObject) -> str:
        return state_for_reader(media)

    @extend_schema_field(RenditionOut(many=True))
    def get_renditions(self, media: MediaObject) -> Any:
        return RenditionOut(pictures_for_reader(media), many=True, context=self.context).data

    @extend_schema_field(Place(allow_null=True))
    def get_location(self, media: MediaObject) -> dict[str, float | None] | None:
        return place_of(media)

    @extend_schema_field(serializers.CharField(allow_null=True))
    def get_url(self, media: MediaObject) -> str | None:
        """Kept for clients of the time when it was the original's (ADR 18)."""
        return None

    def get_original(self, media: MediaObject) -> bool:
        """A rejected file is nobody's to open: it may be hostile."""
        return media.state in READABLE and may_open_original(media)

    @extend_schema_field(DeletedOut(allow_null=True))
    def get_deleted(self, media: MediaObject) -> dict[str, Any] | None:
        return deleted_of(media)
