"""`python -m server media_store …`: set a store up, check it, sweep it, move it to another one."""

from __future__ import annotations

import argparse
import re
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import translation

from media_storage import housekeeping
from media_storage.errors import StoreUnavailable
from media_storage.housekeeping import Busy, NotOurs
from media_storage.models import Housekeeping, MediaObject
from media_storage.stores import TRASH, ObjectMissing, Store, StoreError, get_store, open_store

if TYPE_CHECKING:
    from media_storage.checking import Finding

ACTIONS = """
  check      try everything that the server and the phones need of the store; exit code 1 where
             something is wrong. The texts are in LANGUAGE_CODE's language: --language en
  create     make the bucket or folder, CORS for PUBLIC_URL, the lifecycle; then check
  sweep      a whole pass of the housekeeping now: --dry-run only says what it would do
  status     how far the housekeeping is, and what the last pass did
  lost       the records whose file is gone from the store
  restore    bring objects back from the trash: their keys, or --all
  move       copy everything to another store and compare: --to URL before the switch; after it,
             with MEDIA_STORE_OLD_URL set, without
"""
_SECRETS = re.compile(r"//[^/@]*@")


class Command(BaseCommand):
    help = "The media store: set up, check, sweep, move."

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        # Django's own cannot be told to leave our lines as they are.
        parser = super().create_parser(prog_name, subcommand, **kwargs)
        parser.epilog = ACTIONS
        parser.formatter_class = argparse.RawDescriptionHelpFormatter
        return parser

    def add_arguments(self, parser: CommandParser) -> None:
        actions = ["check", "create", "sweep", "status", "lost", "restore", "move"]
        parser.add_argument("action", choices=actions)
        parser.add_argument("keys", nargs="*", help="restore: which objects")
        parser.add_argument("--language", choices=[code for code, _name in settings.LANGUAGES])
        parser.add_argument("--dry-run", action="store_true", help="sweep: only say")
        parser.add_argument(
            *("--adopt",), action="store_true", help="sweep: database and store belong together"
        )
        parser.add_argument(
            *("--release",), action="store_true", help="sweep: forget what --adopt had kept"
        )
        parser.add_argument("--all", action="store_true", help="restore: the whole trash")
        parser.add_argument("--to", default="", help="move: the URL of the other store")
        parser.add_argument("--threads", type=int, default=4, help="move: at a time")

    def handle(self, *_args: Any, action: str, language: str | None, **options: Any) -> None:
        with translation.override(language) if language else nullcontext():
            try:
                getattr(self, f"_{action}")(**options)
            except (StoreError, StoreUnavailable, OSError) as error:
                cause = error.__cause__ or error
                raise CommandError(f"The media store does not work: {cause}") from error

    # ---- check, create ------------------------------------------------------------------------

    def _check(self, **_options: Any) -> None:
        if wrong := [each for each in self._found() if each.severity == "error"]:
            raise CommandError(f"The media store does not work: {len(wrong)} wrong.")
        self.stdout.write(self.style.SUCCESS("The media store works."))

    def _create(self, **_options: Any) -> None:
        from media_storage.setup import set_up

        for what, how in set_up(get_store()):
            self.stdout.write(f"{what}: {how}")
        # It runs at every start in production, which only what nobody can work with may prevent.
        if fatal := [each for each in self._found() if each.is_fatal]:
            raise CommandError(f"The media store does not work: {fatal[0].text}")
        self.stdout.write(self.style.SUCCESS("The media store works."))

    def _found(self) -> Iterator[Finding]:
        """Each finding, told before it is given."""
        from media_storage.checking import check  # late: it loads boto3, whatever the store

        marks = {"error": "✗", "warning": "!", "hint": "·"}
        for finding in check(get_store()):
            self.stdout.write(f"{marks[finding.severity]} [{finding.code}] {finding.text}")
            if finding.detail:
                self.stdout.write(f"    {finding.detail}")
            self.stdout.write(f"    → {finding.mend}")
            yield finding

    # ---- sweep --------------------------------------------------------------------------------

    def _sweep(self, *, dry_run: bool, adopt: bool, release: bool, **_options: Any) -> None:
        if settings.MEDIA_STORE_OLD_URL:
            raise CommandError("Nothing is swept while MEDIA_STORE_OLD_URL is set.")
        try:
            if adopt:
                housekeeping.adopt()
                self.stdout.write("Adopted. What no row names and is older than now is kept.")
            if release:
                Housekeeping.objects.update(kept_before=None)
            counts = housekeeping.sweep_now(
                is_dry=dry_run, say=lambda what, which: self.stdout.write(f"{what}: {which}")
            )
        except (NotOurs, Busy) as refusal:
            raise CommandError(str(refusal)) from None
        self._say_counts(counts)

    def _status(self, **_options: Any) -> None:
        ours = Housekeeping.ours()
        told = {
            "pass began": ours.pass_began_at,
            "pass ended": ours.pass_ended_at,
            "at": ours.cursor,
            "refused since": ours.refused_at,
            "kept before": ours.kept_before,
        }
        for name, value in told.items():
            self.stdout.write(f"{name}: {value or '-'}")
        lost = MediaObject.objects.filter(lost_at__isnull=False).count()
        self._say_counts(Counter(ours.counts) + Counter({"records without their file": lost}))

    def _lost(self, **_options: Any) -> None:
        rows = MediaObject.objects.filter(lost_at__isnull=False).order_by("lost_at", "pk")
        for media in rows.select_related("owner").iterator():
            self.stdout.write(
                f"{media.lost_at:%Y-%m-%d %H:%M} {media.pk} {media.key} {media.size} "
                f"{media.owner or '-'} {media.filename}"
            )
        self._say_counts(Counter({"lost": rows.count()}))

    def _restore(self, *, keys: Sequence[str], all: bool, **_options: Any) -> None:
        store, counts = get_store(), Counter[str]()
        chosen = [each.key.removeprefix(TRASH) for each in store.listed(TRASH)] if all else keys
        for key in chosen:
            try:
                store.move(f"{TRASH}{key}", key)
            except ObjectMissing:
                self.stdout.write(f"not in the trash: {key}")
            else:
                counts["brought back"] += 1
        self._say_counts(counts)

    # ---- move ---------------------------------------------------------------------------------

    def _move(self, *, to: str, threads: int, **_options: Any) -> None:
        from media_storage.moving import Move

        source_url, target_url = self._from_and_to(to)
        source, target = _opened(source_url), _opened(target_url)
        target.create()
        name = _SECRETS.sub("//", source_url).partition("?")[0]
        move = Move(
            source,
            target,
            name=name,
            threads=threads,
            said=lambda outcome, key: self.stdout.write(f"{outcome}: {key}"),
        )
        said = time.monotonic()
        for counts in move.run():
            if time.monotonic() - said > 5:
                self._say_counts(counts)
                said = time.monotonic()
        self._say_counts(move.counts)
        if wrong := move.counts["damaged"] + move.counts["failed"]:
            raise CommandError(f"{wrong} objects are not as they should be; see above.")
        self.stdout.write(self.style.SUCCESS(_NEXT_AFTER if not to else _NEXT_BEFORE))

    def _from_and_to(self, to: str) -> tuple[str, str]:
        current, old = settings.MEDIA_STORE_URL, settings.MEDIA_STORE_OLD_URL
        if to and old:
            raise CommandError("A move is under way: MEDIA_STORE_OLD_URL is set. Leave --to away.")
        if not to and not old:
            raise CommandError("Say where to: --to URL.")
        source, target = (current, to) if to else (old, current)
        if source == target:
            raise CommandError("This is the store that objects are to be moved from.")
        return source, target

    def _say_counts(self, counts: Counter[str]) -> None:
        self.stdout.write(", ".join(f"{name} {count}" for name, count in sorted(counts.items())))


_NEXT_BEFORE = (
    "All is there. Now set MEDIA_STORE_URL to the new store and MEDIA_STORE_OLD_URL to this one, "
    "restart all processes, and run `media_store move` again."
)
_NEXT_AFTER = (
    "All is there. When no phone can still be uploading to the old store (12 hours), run this once "
    "more, then unset MEDIA_STORE_OLD_URL and restart all processes. The old store keeps its objects."
)


def _opened(url: str) -> Store:
    try:
        return open_store(url)
    except ImproperlyConfigured as error:
        raise CommandError(str(error)) from error
