"""Instruments and their versions."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from mobile_api.serializers.common import Shape
from server.instruments.models import InstrumentVersion


class InstrumentBrief(Shape):
    """An instrument of a visit, and the version to fill in now."""

    form_id = serializers.CharField()
    title = serializers.CharField()
    version = serializers.CharField(source="current.version", allow_null=True, default=None)
    hash = serializers.CharField(source="current.hash", allow_null=True, default=None)


class InstrumentOut(InstrumentBrief):
    id = serializers.UUIDField()
    open = serializers.BooleanField(help_text="Usable outside any visit.")
    published_at = serializers.DateTimeField(
        source="current.published_at", allow_null=True, default=None
    )


class FieldOut(Shape):
    """One field of a form; groups and repeats hold `children`. Absent members are empty."""

    path = serializers.CharField()
    name = serializers.CharField()
    type = serializers.CharField()
    label = serializers.DictField(  # type: ignore[assignment] # a field of that name
        child=serializers.CharField(), required=False
    )
    required = serializers.CharField(  # type: ignore[assignment]
        required=False, help_text="XPath"
    )
    relevance = serializers.CharField(required=False, help_text="XPath")
    constraint = serializers.CharField(required=False, help_text="XPath")
    choices = serializers.ListField(child=serializers.DictField(), required=False)
    finding = serializers.DictField(required=False, help_text="Which answer is a finding.")
    children = serializers.ListField(child=serializers.DictField(), required=False)


class FormFileOut(Shape):
    """A file that travels with the form."""

    name = serializers.CharField()
    hash = serializers.CharField()
    url = serializers.CharField(help_text="With the bearer token.")


class VersionOut(Shape):
    """A publication, immutable."""

    form_id = serializers.CharField(source="instrument.form_id")
    version = serializers.CharField()
    title = serializers.DictField(source="form.title", child=serializers.CharField())
    default_language = serializers.CharField(source="form.default_language")
    languages = serializers.ListField(source="form.languages", child=serializers.CharField())
    hash = serializers.CharField(help_text="Of the XForm as served: md5:…")
    published_at = serializers.DateTimeField()
    xform_url = serializers.SerializerMethodField(help_text="With the bearer token.")
    fields = serializers.SerializerMethodField(method_name="fields_of")  # type: ignore[assignment]
    attachments = serializers.SerializerMethodField()

    @extend_schema_field(str)
    def get_xform_url(self, version: InstrumentVersion) -> str:
        return f"{self._address(version)}/xform"

    @extend_schema_field(FieldOut(many=True))
    def fields_of(self, version: InstrumentVersion) -> list[dict[str, Any]]:
        return list(version.form["fields"])

    @extend_schema_field(FormFileOut(many=True))
    def get_attachments(self, version: InstrumentVersion) -> list[dict[str, str]]:
        place = f"{self._address(version)}/media"
        return [
            {"name": file.name, "hash": file.hash, "url": f"{place}/{quote(file.name)}"}
            for file in version.attachments.all()
        ]

    def _address(self, version: InstrumentVersion) -> str:
        form_id, name = quote(version.instrument.form_id), quote(version.version, safe="")
        return f"{self.context['base_url']}/api/v1/instruments/{form_id}/versions/{name}"


class InstrumentWithForm(InstrumentOut):
    """An instrument with its current version whole, so that a phone can fill it in offline."""

    form = VersionOut(source="current", allow_null=True)


class InstrumentIn(Shape):
    """An XLSForm and the files that it uses."""

    xlsform = serializers.FileField()
    attachments = serializers.ListField(child=serializers.FileField(), required=False)
    open = serializers.BooleanField(default=False)


class DraftOut(Shape):
    form_id = serializers.CharField(source="instrument.form_id")
    title = serializers.CharField(source="instrument.title")
    draft = serializers.UUIDField(source="id")
    warnings = serializers.ListField(child=serializers.CharField())


class PublishedOut(Shape):
    form_id = serializers.CharField(source="instrument.form_id")
    version = serializers.CharField()
