"""Have shared copies made, or made anew, by the workers."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db.models import Q, QuerySet

from media_storage.models import MediaObject
from server.activities.models import Activity
from server.sharing.marking import mark_copies
from server.sharing.models import SharedCopy
from server.sharing.uses import pictures, pictures_used_in

A_TIME = 1000


class Command(BaseCommand):
    help = "Mark shared copies to be made as they should be now; workers make them."

    def add_arguments(self, parser: CommandParser) -> None:
        which = parser.add_mutually_exclusive_group(required=True)
        which.add_argument("--missing", action="store_true", help="pictures without a copy")
        which.add_argument("--activity", type=UUID, help="the pictures of one activity, by its id")
        which.add_argument("--instrument", help="the pictures of one instrument, by its form_id")
        which.add_argument("--failed", action="store_true", help="those that could not be made")
        which.add_argument("--all", action="store_true", help="every picture")
        parser.add_argument("--dry-run", action="store_true", help="count only")

    def handle(self, *args: Any, **options: Any) -> None:
        rows = self._rows(options)
        ids = list(rows.order_by("pk").values_list("pk", flat=True))
        if options["dry_run"]:
            self.stdout.write(f"{len(ids)} pictures; nothing was changed.")
            return
        for start in range(0, len(ids), A_TIME):
            page = ids[start : start + A_TIME]
            # What failed once is tried again only because somebody asks.
            SharedCopy.objects.filter(pk__in=page).exclude(failed_code="").update(digest="")
            mark_copies(page)
        self.stdout.write(f"{len(ids)} pictures marked; the workers make their copies.")

    def _rows(self, options: dict[str, Any]) -> QuerySet[MediaObject]:
        if options["activity"]:
            activity = Activity.objects.filter(pk=options["activity"]).first()
            if activity is None:
                raise CommandError("There is no activity with this id.")
            return pictures_used_in(activity)
        if form_id := options["instrument"]:
            filled = Q(
                submission_attachments__submission__version__instrument__form_id=form_id,
            )
            return pictures().filter(
                filled
                | Q(finding_actions__finding__submission__version__instrument__form_id=form_id)
            )
        if options["failed"]:
            return pictures().exclude(shared_copy=None).exclude(shared_copy__failed_code="")
        return pictures().filter(shared_copy=None) if options["missing"] else pictures()
