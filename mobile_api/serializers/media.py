"""Photos and files: declared, uploaded, ready."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from media_storage.models import MediaObject
from media_storage.services import readable_url
from mobile_api.serializers.common import Place, Shape, place_of

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
    name = serializers.CharField()
    width = serializers.IntegerField()
    height = serializers.IntegerField()
    url = serializers.SerializerMethodField(help_text="Lasts minutes; ask again.")

    def get_url(self, rendition: Any) -> str:
        return readable_url(rendition, base_url=self.context["base_url"])


class MediaOut(Shape):
    id = serializers.UUIDField()
    state = serializers.ChoiceField(choices=MediaObject.State.choices)
    reason = serializers.CharField(source="reject_reason")
    note = serializers.CharField()
    filename = serializers.CharField()
    content_type = serializers.CharField()
    size = serializers.IntegerField()
    width = serializers.IntegerField(allow_null=True)
    height = serializers.IntegerField(allow_null=True)
    taken_at = serializers.DateTimeField(allow_null=True)
    location = serializers.SerializerMethodField()
    url = serializers.SerializerMethodField(help_text="The original; lasts minutes.")
    renditions = RenditionOut(many=True)

    @extend_schema_field(Place(allow_null=True))
    def get_location(self, media: MediaObject) -> dict[str, float | None] | None:
        return place_of(media)

    def get_url(self, media: MediaObject) -> str | None:
        """A rejected file is nobody's to open: it may be hostile."""
        if not media.is_uploaded or media.state == MediaObject.State.REJECTED:
            return None
        return readable_url(media, base_url=self.context["base_url"])
