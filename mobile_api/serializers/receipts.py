"""Signed receipts, the days that bind them, and the keys that sign."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from mobile_api.serializers.common import Shape
from server.receipts.models import DayHead, Receipt
from server.receipts.queries import Proofs, envelope, public_key_of


class StatementOut(Shape):
    """`signature`: Ed25519 over the canonical JSON of `signed` (sorted keys, no white space, UTF-8)."""

    signed = serializers.DictField()
    signature = serializers.CharField(help_text="128 hexadecimal digits.")
    countersignature = serializers.CharField(
        required=False, help_text="Of a new key, beside that of the old one."
    )


class ProofOut(Shape):
    """The way from the receipt up the tree of its day (RFC 6962)."""

    index = serializers.IntegerField(help_text="The receipt's place in its day, from 0.")
    count = serializers.IntegerField(help_text="How many receipts the day has.")
    path = serializers.ListField(child=serializers.CharField(), help_text="Hashes, lowest first.")


class ReceiptOut(Shape):
    """One receipt. `proof` and `day_statement` are null until its day is closed."""

    position = serializers.IntegerField(help_text="Its place in the chain of all receipts.")
    kind = serializers.ChoiceField(choices=Receipt.Kind.choices)
    subject = serializers.UUIDField(help_text="The id of the submission or the conflict.")
    sequence = serializers.IntegerField(help_text="Files that came later make a further one.")
    made_at = serializers.DateTimeField()
    day = serializers.DateField()
    hash = serializers.CharField(help_text="SHA-256 of the signed bytes.")
    receipt = serializers.SerializerMethodField()
    proof = serializers.SerializerMethodField()
    day_statement = serializers.SerializerMethodField()

    @extend_schema_field(StatementOut)
    def get_receipt(self, row: Receipt) -> dict[str, Any]:
        return envelope(row)

    @extend_schema_field(ProofOut(allow_null=True))
    def get_proof(self, row: Receipt) -> dict[str, Any] | None:
        return self._proofs.of(row)

    @extend_schema_field(StatementOut(allow_null=True))
    def get_day_statement(self, row: Receipt) -> dict[str, Any] | None:
        day = self._proofs.day_of(row)
        return envelope(day) if day else None

    @property
    def _proofs(self) -> Proofs:
        proofs: Proofs = self.context["proofs"]
        return proofs


class KeyOut(Shape):
    """A public key of the chain: it signs from the receipt after `position` on, until the next key."""

    id = serializers.SerializerMethodField()
    public_key = serializers.SerializerMethodField(help_text="64 hexadecimal digits.")
    algorithm = serializers.SerializerMethodField()
    position = serializers.IntegerField()
    made_at = serializers.DateTimeField()
    statement = serializers.SerializerMethodField(help_text="The receipt that brought the key.")

    def get_id(self, row: Receipt) -> str:
        return row.subject.hex[:16]

    def get_public_key(self, row: Receipt) -> str:
        return public_key_of(row)

    def get_algorithm(self, row: Receipt) -> str:
        return "Ed25519"

    @extend_schema_field(StatementOut)
    def get_statement(self, row: Receipt) -> dict[str, Any]:
        return envelope(row)


class DayOut(Shape):
    """A closed day. Its hash, published elsewhere, vouches for every receipt up to it."""

    number = serializers.IntegerField()
    day = serializers.DateField()
    count = serializers.IntegerField(help_text="Receipts.")
    hash = serializers.CharField()
    closed_at = serializers.DateTimeField()
    statement = serializers.SerializerMethodField()

    @extend_schema_field(StatementOut)
    def get_statement(self, row: DayHead) -> dict[str, Any]:
        return envelope(row)


DayQuery = type(
    "DayQuery",
    (Shape,),
    {
        # `from` is a word of Python's.
        "from": serializers.DateField(required=False),
        "to": serializers.DateField(required=False, help_text="Included."),
        "lookups": {"from": "day__gte", "to": "day__lte"},
        "__doc__": "Which days.",
    },
)
