"""The store's broom: what it takes, what it leaves, and when it does not move at all."""

from __future__ import annotations

import io
import logging
import os
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from media_storage import housekeeping, keys, witness
from media_storage.housekeeping import sweep_now, take_turn
from media_storage.keys import KeySource
from media_storage.models import Housekeeping, MediaObject, Rendition
from media_storage.services import new_media_values, resume_upload, store_stream
from media_storage.stores import Store, exists, get_store, open_store
from media_storage.stores.folder import FolderStore
from media_storage.work import PUMP
from server.core import clock, schedule, work
from server.core.ids import new_id
from tests.media_storage import pictures
from tests.media_storage.test_receiving import declared, send

pytestmark = pytest.mark.django_db

DAY = timedelta(days=1)
Later = Any


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Later:
    """later(15): the clock of the server goes on so many days."""
    passed = timedelta()
    real = clock.now

    def later(days: float) -> None:
        nonlocal passed
        passed += timedelta(days=days)

    monkeypatch.setattr(clock, "now", lambda: real() + passed)
    return later


@pytest.fixture
def folder() -> FolderStore:
    store = get_store()
    assert isinstance(store, FolderStore)
    store.create()
    return store


def photo(content: bytes = pictures.jpeg(80, 60)) -> MediaObject:
    stored = store_stream(filename="a", content_type="image/jpeg", chunks=[content])
    values = new_media_values(media_id=new_id(), owner_id=None, filename="a.jpg", stored=stored)
    return MediaObject.objects.create(**values)


def ready() -> MediaObject:
    media = photo()
    work.drain(PUMP)
    media.refresh_from_db()
    assert media.state == "ready"
    return media


def sweep(*, is_dry: bool = False) -> dict[str, int]:
    """What was done, without what was only looked at."""
    counts = sweep_now(say=lambda _what, _which: None, is_dry=is_dry)
    return {name: count for name, count in counts.items() if "look" not in name and count}


def names(store: Store) -> list[str]:
    return [each.key for each in store.listed() if not each.key.startswith("witness/")]


class TestObjectsWithoutRows:
    def test_one_is_kept_through_a_grace_then_in_the_trash_then_deleted(
        self, folder: FolderStore, later: Later
    ) -> None:
        media = ready()
        folder.write("202601/01/orphan", [b"bytes"])
        kept = set(names(folder)) - {"202601/01/orphan"}
        assert media.key in kept
        later(13)
        assert sweep() == {"young": 1}
        later(2)
        assert sweep() == {"to trash": 1, "bytes to trash": 5}
        assert set(names(folder)) == {*kept, "trash/202601/01/orphan"}
        os.utime(
            folder.root / "objects/trash/202601/01/orphan", times=(clock.now().timestamp(),) * 2
        )
        later(13)
        assert sweep() == {"in trash": 1}
        later(2)
        assert sweep() == {"deleted": 1, "bytes deleted": 5}
        assert set(names(folder)) == kept

    def test_bytes_of_a_deleted_file_that_came_back_are_nobody_s(
        self, folder: FolderStore, later: Later
    ) -> None:
        media = ready()
        MediaObject.objects.update(state="deleted")
        later(15)
        assert sweep()["to trash"] == 1
        assert not exists(folder, media.key)

    def test_a_dry_run_says_it_and_does_nothing(self, folder: FolderStore, later: Later) -> None:
        folder.write("a/orphan", [b"bytes"])
        later(15)
        out = io.StringIO()
        call_command("media_store", "sweep", "--dry-run", stdout=out)
        assert "to trash: a/orphan" in out.getvalue()
        assert names(folder) == ["a/orphan"]
        assert Housekeeping.ours().mark == ""

    def test_what_another_package_names_stays(
        self, folder: FolderStore, later: Later, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder.write("certificates/1", [b"bytes"])
        row = photo()
        MediaObject.objects.filter(pk=row.pk).update(filename="certificates/1")
        source = KeySource(name="test", rows=MediaObject.objects.all, field="filename")
        with monkeypatch.context() as patch:
            patch.setattr(keys, "_sources", {**keys._sources, "test": source})
            later(15)
            assert sweep() == {}
        assert sweep() == {"to trash": 1, "bytes to trash": 5}

    def test_a_row_that_comes_back_brings_its_object_out_of_the_trash(
        self, folder: FolderStore, later: Later
    ) -> None:
        media = photo()
        folder.move(media.key, f"trash/{media.key}")
        assert sweep() == {"brought back": 1}
        assert exists(folder, media.key)
        media.refresh_from_db()
        assert media.lost_at is None

    def test_the_trash_is_restored_by_hand(self, folder: FolderStore) -> None:
        for name in ("a/1", "a/2", "a/3"):
            folder.write(f"trash/{name}", [b"bytes"])
        out = io.StringIO()
        call_command("media_store", "restore", "a/2", "a/9", stdout=out)
        assert "not in the trash: a/9" in out.getvalue()
        assert names(folder) == ["a/2", "trash/a/1", "trash/a/3"]
        call_command("media_store", "restore", "--all", stdout=out)
        assert names(folder) == ["a/1", "a/2", "a/3"]

    def test_a_row_written_while_the_broom_looks_keeps_its_object(
        self, folder: FolderStore, later: Later, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        media = photo()
        key, real = media.key, keys.unnamed
        later(15)
        # The first look misses the row, as a transaction that is about to commit.
        answers = iter([{key}])
        monkeypatch.setattr(keys, "unnamed", lambda asked: next(answers, None) or real(asked))
        sweep()
        assert exists(folder, key)


class TestRowsWithoutObjects:
    def test_one_is_named_and_never_deleted(
        self, folder: FolderStore, caplog: pytest.LogCaptureFixture
    ) -> None:
        media, other = photo(), photo()
        folder.delete(media.key)
        assert sweep() == {"lost (originals)": 1}
        media.refresh_from_db()
        other.refresh_from_db()
        assert media.lost_at is not None
        assert other.lost_at is None
        assert "1 media objects have lost their bytes" in caplog.text
        since = media.lost_at
        sweep()
        media.refresh_from_db()
        assert media.lost_at == since

        out = io.StringIO()
        call_command("media_store", "lost", stdout=out)
        assert media.key in out.getvalue()
        assert "lost 1" in out.getvalue()
        folder.write(media.key, [b"from a backup"])
        sweep()
        media.refresh_from_db()
        assert media.lost_at is None

    def test_what_is_only_declared_has_lost_nothing(self, folder: FolderStore) -> None:
        declared()
        assert sweep() == {}

    def test_a_lost_rendition_is_made_again(self, folder: FolderStore) -> None:
        media = ready()
        small = media.renditions.get(name="small")
        folder.delete(small.key)
        assert sweep() == {"lost (renditions)": 1}
        media.refresh_from_db()
        assert media.state == "stored"
        work.drain(PUMP)
        media.refresh_from_db()
        assert media.state == "ready"
        assert {each.name for each in Rendition.objects.all()} >= {"small", "large"}
        assert exists(folder, media.renditions.get(name="small").key)

    def test_more_lost_rows_than_a_page_are_taken_bit_by_bit(
        self, folder: FolderStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(housekeeping, "PAGE", 3)
        monkeypatch.setattr(housekeeping, "MOST_ROWS", 4)
        rows = [photo() for _number in range(20)]
        for media in sorted(rows, key=lambda row: row.key)[2:17]:
            folder.delete(media.key)
        assert sweep() == {"lost (originals)": 15}
        assert MediaObject.objects.filter(lost_at__isnull=False).count() == 15


class TestUploads:
    def test_a_half_done_one_waits_for_its_phone_and_is_then_forgotten(
        self, folder: FolderStore, later: Later
    ) -> None:
        media = declared()
        send(media, b"x" * media.size)
        later(29)
        assert sweep() == {}
        later(2)
        assert sweep() == {"forgot an upload": 1}
        media.refresh_from_db()
        assert media.state == "declared"
        assert len(resume_upload(media=media, base_url="").parts) == 4

    def test_one_that_no_row_waits_for_goes_the_next_day(
        self, folder: FolderStore, later: Later
    ) -> None:
        folder.write_at("incoming/a/b", [b"bytes"])
        folder.write_at(f"parts/{'x' * 32}.262144/1", [b"bytes"])
        assert sweep() == {}
        later(1.1)
        assert sweep() == {"forgot an upload": 2}
        assert list(folder.uploads()) == []


class TestAnotherDatabase:
    """A mark in both tells whether the database and the store are the pair that they were."""

    def test_a_restored_database_sweeps_nothing_until_somebody_looked(
        self, folder: FolderStore, later: Later, caplog: pytest.LogCaptureFixture
    ) -> None:
        sweep()
        backup = Housekeeping.ours()
        later(1)
        sweep()
        since_the_backup = photo()
        later(20)
        # The restore: the rows of what came since are gone, and the mark is the old one.
        since_the_backup.delete()
        backup.save()
        assert take_turn() == {}
        assert "either restored or exchanged" in caplog.text
        with pytest.raises(CommandError, match="either restored or exchanged"):
            call_command("media_store", "sweep", stdout=io.StringIO())
        assert names(folder) == [since_the_backup.key]

        out = io.StringIO()
        call_command("media_store", "sweep", "--adopt", stdout=out)
        assert "kept from before the restore" in out.getvalue()
        later(100)
        take_turn()
        assert names(folder) == [since_the_backup.key]
        # What becomes an orphan afterwards goes as usual.
        folder.write("a/new", [b"bytes"])
        os.utime(folder.root / "objects/a/new", times=(clock.now().timestamp(),) * 2)
        later(15)
        assert sweep() == {"kept from before the restore": 1, "to trash": 1, "bytes to trash": 5}
        call_command("media_store", "sweep", "--release", stdout=out)
        assert not exists(folder, since_the_backup.key)
        assert exists(folder, f"trash/{since_the_backup.key}")

    def test_an_emptied_or_mistyped_store_makes_nothing_lost(
        self, folder: FolderStore, settings: Any, tmp_path: Any
    ) -> None:
        photo()
        sweep()
        settings.MEDIA_STORE_URL = f"folder://{tmp_path}/another"
        get_store().create()
        assert take_turn() == {}
        assert not MediaObject.objects.filter(lost_at__isnull=False).exists()
        # It stays so, though the right store is back: somebody has to look.
        settings.MEDIA_STORE_URL = f"folder://{folder.root}"
        with pytest.raises(housekeeping.NotOurs):
            sweep()

    def test_a_copy_of_the_database_at_the_same_store_stops_both_or_one(
        self, folder: FolderStore
    ) -> None:
        sweep()
        copy = Housekeeping.ours()
        sweep()
        mine = Housekeeping.ours()
        assert witness.agree(folder, mine)
        assert not witness.agree(folder, copy)

    @pytest.mark.parametrize("crashes_after", ["database", "store"])
    def test_a_crash_while_the_mark_is_renewed_is_no_restore(
        self, folder: FolderStore, monkeypatch: pytest.MonkeyPatch, crashes_after: str
    ) -> None:
        sweep()
        ours = Housekeeping.ours()

        class Crash(Exception):
            pass

        def crash(store: Store, mark: str) -> None:
            if crashes_after == "store":
                store.write(witness.KEY, [mark.encode()])
            raise Crash

        with monkeypatch.context() as patch:
            patch.setattr(witness, "write_mark", crash)
            with pytest.raises(Crash):
                witness.renew(folder, ours)
        assert witness.agree(folder, Housekeeping.ours())
        assert sweep() == {}

    def test_the_first_sweep_makes_the_mark(self, folder: FolderStore) -> None:
        assert witness.mark_of(folder) == ""
        sweep()
        assert witness.mark_of(folder) == Housekeeping.ours().mark != ""

    def test_a_new_database_at_a_known_store_is_not_its_own(self, folder: FolderStore) -> None:
        sweep()
        Housekeeping.objects.all().delete()
        with pytest.raises(housekeeping.NotOurs):
            sweep()


class TestTurns:
    def test_a_pass_goes_on_where_the_last_turn_ended(
        self, folder: FolderStore, monkeypatch: pytest.MonkeyPatch, settings: Any, later: Later
    ) -> None:
        monkeypatch.setattr(housekeeping, "PAGE", 4)
        settings.MEDIA_TRASH_DAYS = 100  # the disk's clock has not gone on with ours
        for number in range(10):
            folder.write(f"a/{number}", [b"bytes"])
        later(15)
        places = []
        while not Housekeeping.ours().pass_ended_at:
            take_turn(seconds=0.0) if not places else one_page()
            places.append(Housekeeping.ours().cursor)
            assert len(places) < 10
        assert places[1:3] == ["a/3", "a/7"]
        assert places[-1] == ""
        assert len(names(folder)) == 10
        assert all(name.startswith("trash/") for name in names(folder))
        assert Housekeeping.ours().counts["to trash"] == 10
        assert take_turn() == {}

    def test_what_the_last_pass_did_is_told(self, folder: FolderStore, later: Later) -> None:
        folder.write("a/orphan", [b"bytes"])
        later(15)
        take_turn()
        out = io.StringIO()
        call_command("media_store", "status", stdout=out)
        assert "refused since: -" in out.getvalue()
        assert "to trash 1" in out.getvalue()
        Housekeeping.objects.update(refused_at=clock.now())
        call_command("media_store", "status", stdout=out)
        assert f"refused since: {clock.now():%Y-%m-%d}" in out.getvalue()

    def test_a_new_pass_begins_after_a_day(self, folder: FolderStore, later: Later) -> None:
        take_turn()
        first = Housekeeping.ours().pass_began_at
        take_turn()
        assert Housekeeping.ours().pass_began_at == first
        later(1.01)
        take_turn()
        assert Housekeeping.ours().pass_began_at > first

    def test_two_workers_do_not_sweep_at_once(self, folder: FolderStore, later: Later) -> None:
        Housekeeping.objects.update_or_create(
            id=1, defaults={"lease_until": clock.now() + timedelta(minutes=3)}
        )
        assert take_turn() == {}
        with pytest.raises(CommandError, match="A worker is at it"):
            call_command("media_store", "sweep", stdout=io.StringIO())
        later(0.01)  # the other one died
        take_turn()
        assert Housekeeping.ours().pass_ended_at is not None

    def test_nothing_is_swept_while_a_store_is_moved(
        self, folder: FolderStore, later: Later, settings: Any, tmp_path: Any
    ) -> None:
        folder.write("a/orphan", [b"bytes"])
        later(15)
        settings.MEDIA_STORE_OLD_URL = f"folder://{tmp_path}/old"
        assert take_turn() == {}
        with pytest.raises(CommandError, match="while MEDIA_STORE_OLD_URL is set"):
            call_command("media_store", "sweep", stdout=io.StringIO())
        assert names(folder) == ["a/orphan"]

    def test_a_store_that_is_away_is_left_for_the_next_turn(
        self, settings: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        settings.MEDIA_STORE_URL = "s3://KEY:SECRET@127.0.0.1:9/bucket?scheme=http&path_style=1"
        with caplog.at_level(logging.WARNING):
            assert take_turn() == {}
        ours = Housekeeping.ours()
        assert (ours.lease_until, ours.refused_at) == (None, None)

    def test_the_schedule_asks_a_worker_for_it(self) -> None:
        interval, do = schedule._periodic["media.sweep"]
        assert interval == timedelta(minutes=10)
        assert do == housekeeping.sweep_task.enqueue

    def test_its_cost_in_queries_does_not_grow_with_the_rows(
        self, folder: FolderStore, django_assert_max_num_queries: Any
    ) -> None:
        for _number in range(30):
            photo()
        sweep()
        with django_assert_max_num_queries(25):
            sweep()


def one_page() -> None:
    """A turn that is told to end after its first page."""
    moments: Iterator[float] = iter([0.0, 0.0])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(housekeeping.time, "monotonic", lambda: next(moments, 1e9))
        take_turn(seconds=1.0)


class TestKeysInOrder:
    def test_ranges_are_in_the_order_of_bytes(self) -> None:
        given = ["A/1", "B/1", "a/1", "a/1-x", "a/10", "a/2", "~"]
        for key in given:
            row = photo()
            MediaObject.objects.filter(pk=row.pk).update(key=key)
        originals = keys._sources["originals"]
        for after in ["", *given]:
            for until in [None, *given]:
                expected = {key for key in given if key > after and (not until or key <= until)}
                assert set(originals.between(after, until)) == expected
        assert originals.nearest("", None, 7) is None
        assert originals.nearest("", None, 6) == "a/2"
        assert originals.nearest("A/1", "a/2", 2) == "a/1"

    @pytest.mark.skipif(connection.vendor != "postgresql", reason="about PostgreSQL's index")
    def test_a_range_is_read_from_the_index_whatever_the_language(self) -> None:
        for _number in range(5):
            photo()
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL enable_seqscan = off")
            rows = keys._sources["originals"]._range("a", "b").values_list("key", "pk")
            assert "Index Cond: (((key)::text ~>~" in rows.explain()


@pytest.mark.django_db(transaction=True)
def test_every_store_is_swept(store: Store, base_url: str, later: Later) -> None:
    media = photo()
    lost = photo()
    store.delete(lost.key)
    store.write("202601/01/orphan", [b"bytes"])
    later(15)
    assert sweep() == {"to trash": 1, "bytes to trash": 5, "lost (originals)": 1}
    assert sorted(names(store)) == sorted([media.key, "trash/202601/01/orphan"])
    later(15)
    assert sweep() == {"deleted": 1, "bytes deleted": 5, "lost (originals)": 1}
    assert names(store) == [media.key]
    open_store.cache_clear()


def test_the_moment_of_a_trashed_object_is_that_of_its_move(folder: FolderStore) -> None:
    folder.write("a/b", [b"bytes"])
    os.utime(folder.root / "objects/a/b", times=(1.0, 1.0))
    [before] = folder.listed("a/")
    assert before.modified < datetime(1971, 1, 1, tzinfo=before.modified.tzinfo)
    folder.move("a/b", "trash/a/b")
    [after] = folder.listed("trash/")
    assert clock.now() - after.modified < DAY
