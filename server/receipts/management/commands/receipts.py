"""`receipts keygen|rotate|export|verify|make`: keys, archives and checks of signed receipts."""

from __future__ import annotations

import argparse
import sys
from datetime import date
from pathlib import Path
from typing import Any
from uuid import UUID

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db.models import Q

from media_storage.errors import StoreUnavailable
from server.activities.models import Activity
from server.grid.models import School
from server.receipts import chain, offline
from server.receipts.checking import Objects, check_everything
from server.receipts.exporting import Scope, write_archive
from server.receipts.keys import (
    KeyUnusable,
    PrivateKey,
    add_to_file,
    new_seed,
    private_keys,
    seeds_in,
)
from server.receipts.models import Receipt
from server.receipts.proof import Anchors, Report, Unreadable
from server.receipts.queries import key_receipts, public_key_of

CANNOT_READ = 2


class Command(BaseCommand):
    help = "Signed receipts: make and change keys, export archives, verify them or the database."
    # `keygen` comes before a production's settings are whole, and `verify FILE` needs none of them.
    requires_system_checks: Any = []

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        actions.add_parser("keygen", help="print a new private key for RECEIPT_KEY")
        actions.add_parser("keys", help="print the chain's public keys")
        actions.add_parser("make", help="make all receipts that are due now, and close days")
        self._add_rotate(actions.add_parser("rotate", help="let the chain go on with another key"))
        self._add_export(actions.add_parser("export", help="write an archive"))
        self._add_verify(
            actions.add_parser(
                "verify", help="check a file offline, or without one the database and the store"
            )
        )

    def _add_rotate(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--to", type=Path, help="a file with the new private key")
        parser.add_argument(
            "--lost", action="store_true", help="the old key is lost: nobody vouches for the new"
        )

    def _add_export(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("file", type=Path, help="the archive to write (.zip)")
        parser.add_argument("--from", type=date.fromisoformat, dest="first_day", help="2026-11-01")
        parser.add_argument("--to", type=date.fromisoformat, dest="last_day", help="2026-11-30")
        parser.add_argument("--activity", type=UUID, help="the id of an activity")
        parser.add_argument("--school", help="a school's code or id")
        parser.add_argument("--documents", action="store_true", help="with the documents")

    def _add_verify(self, parser: argparse.ArgumentParser) -> None:
        offline.add_arguments(parser, file_nargs="?")
        parser.add_argument("--objects", action="store_true", help="read every file from the store")
        parser.add_argument("--sample", type=int, default=0, help="read so many, chosen at random")

    def handle(self, *_args: Any, action: str, **options: Any) -> None:
        try:
            getattr(self, f"_{action}")(**options)
        except (KeyUnusable, StoreUnavailable) as error:
            raise CommandError(str(error)) from error

    # ---- keys --------------------------------------------------------------------------------

    def _keygen(self, **_options: Any) -> None:
        seed = new_seed()
        self.stdout.write(seed)
        public = PrivateKey(bytes.fromhex(seed)).public
        self.stderr.write(f"Its public key, to be published: {public}")

    def _keys(self, **_options: Any) -> None:
        for row in key_receipts():
            self.stdout.write(f"{row.position} {row.made_at:%Y-%m-%d} {public_key_of(row)}")

    def _rotate(self, *, to: Path | None, lost: bool, **_options: Any) -> None:
        new = self._new_key(to)
        if lost:
            self._say_rotated(chain.replace_lost_key(to=new))
            return
        self._say_rotated(chain.rotate(to=new))

    def _new_key(self, to: Path | None) -> PrivateKey:
        """The key of the file; else one of RECEIPT_KEY that the chain has not had; else a new one."""
        if to is not None:
            seeds = seeds_in(to.read_text(encoding="ascii")) if to.is_file() else []
            if len(seeds) != 1:
                raise CommandError(f"{to} does not hold one private key")
            return PrivateKey(bytes.fromhex(seeds[0]))
        known = {public_key_of(row) for row in key_receipts()}
        fresh = [key for key in private_keys().values() if key.public not in known]
        if len(fresh) == 1:
            return fresh[0]
        if fresh or settings.RECEIPT_KEY:
            raise CommandError("RECEIPT_KEY must hold the present key and one new key")
        # Into the file first: a chain that stands on a key which nobody has could not go on.
        seed = new_seed()
        try:
            add_to_file(Path(settings.RECEIPT_KEY_FILE), seed)
        except OSError as error:
            raise CommandError(
                f"{settings.RECEIPT_KEY_FILE} cannot be written ({error}): add the line of "
                "`receipts keygen` to it, then try again"
            ) from error
        return PrivateKey(bytes.fromhex(seed))

    def _say_rotated(self, row: Receipt) -> None:
        public = public_key_of(row)
        self.stdout.write(f"From receipt {row.position + 1} on this key signs: {public}")
        self.stderr.write("Publish the new public key. The old private key is of no more use.")

    # ---- the rest ----------------------------------------------------------------------------

    def _make(self, **_options: Any) -> None:
        while chain.extend(seconds=60):
            pass
        self.stdout.write(f"{Receipt.objects.count()} receipts.")

    def _export(
        self, *, file: Path, activity: UUID | None, school: str | None, **options: Any
    ) -> None:
        scope = Scope(
            activity=_one(Activity, activity) if activity else None,
            school=_school(school) if school else None,
            **{name: options[name] for name in ("first_day", "last_day", "documents")},
        )
        counts = write_archive(file, scope)
        self.stdout.write(f"{file}: " + ", ".join(f"{n} {name}" for name, n in counts.items()))

    def _verify(self, **options: Any) -> None:
        try:
            report = self._checked(**options)
        except (Unreadable, OSError) as error:
            self.stderr.write(f"cannot read: {error}")
            sys.exit(CANNOT_READ)
        report.say(self.stdout)  # type: ignore[arg-type]  # Django's wrapper has `write`
        if not report.is_sound:
            sys.exit(1)

    def _checked(
        self, *, file: Path | None, objects: bool, sample: int, key: list[str], **options: Any
    ) -> Report:
        if file is not None:
            names = ("anchor", "document", "photos")
            return offline.verify(file=file, key=key, **{name: options[name] for name in names})
        return check_everything(
            objects=Objects(every=objects, sample=sample),
            keys=[offline.read_key(each) for each in key],
            anchors=Anchors.of(options["anchor"]),
        )


def _one(model: Any, pk: UUID) -> Any:
    row = model.objects.filter(pk=pk).first()
    if row is None:
        raise CommandError(f"there is no {model._meta.model_name} {pk}")
    return row


def _school(text: str) -> School:
    try:
        found = School.objects.filter(Q(code=text) | Q(pk=UUID(text))).first()
    except (ValueError, ValidationError):
        found = School.objects.filter(code=text).first()
    if found is None:
        raise CommandError(f"there is no school {text}")
    return found
