"""Moving a store to another one while everything runs, and being killed in the middle."""

from __future__ import annotations

import hashlib
import io
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from media_storage import receiving, witness
from media_storage.errors import StoreUnavailable
from media_storage.models import Housekeeping, MediaObject
from media_storage.moving import Move
from media_storage.services import (
    complete_media,
    declare_media,
    new_media_values,
    readable_url,
    resume_upload,
    store_stream,
)
from media_storage.stores import (
    PIECE_SIZE,
    ObjectMissing,
    Store,
    exists,
    get_store,
    open_both,
    open_store,
)
from media_storage.stores.folder import FolderStore
from media_storage.work import PUMP
from server.core import work
from server.core.ids import new_id
from tests.media_storage import pictures
from tests.media_storage.conftest import bucket_url, put

pytestmark = pytest.mark.django_db(transaction=True)

ROOT = Path(__file__).resolve().parents[2]
Urls = tuple[str, str]


@pytest.fixture(params=["folder-ceph", "ceph-folder", "swift-ceph", "folder-folder"])
def urls(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Urls]:
    """From where to where."""

    def url(kind: str, end: str) -> str:
        if kind == "folder":
            return f"folder://{tmp_path}/{end}"
        server = request.getfixturevalue("s3_url" if kind == "swift" else "ceph_url")
        return bucket_url(server, checksum="content-sha256")

    old, new = request.param.split("-")
    yield url(old, "old"), url(new, "new")
    open_store.cache_clear()
    open_both.cache_clear()


@pytest.fixture
def folders(tmp_path: Path) -> Urls:
    return f"folder://{tmp_path}/old", f"folder://{tmp_path}/new"


def begin_with(url: str, settings: Any) -> Store:
    settings.MEDIA_STORE_URL, settings.MEDIA_STORE_OLD_URL = url, ""
    get_store().create()
    return get_store()


def switch(urls: Urls, settings: Any) -> Store:
    """What the operator does when the first move is through."""
    settings.MEDIA_STORE_OLD_URL, settings.MEDIA_STORE_URL = urls
    return get_store()


def photo(content: bytes | None = None) -> MediaObject:
    content = content or pictures.jpeg(80, 60)
    stored = store_stream(filename="a", content_type="image/jpeg", chunks=[content])
    values = new_media_values(media_id=new_id(), owner_id=None, filename="a.jpg", stored=stored)
    return MediaObject.objects.create(**values)


def move(*arguments: str) -> str:
    out = io.StringIO()
    call_command("media_store", "move", *arguments, stdout=out)
    return out.getvalue()


def contents(store: Store) -> dict[str, str]:
    return {
        each.key: hashlib.sha256(b"".join(store.read(each.key))).hexdigest()
        for each in store.listed()
        if not each.key.startswith("witness/")
    }


def test_step_by_step_as_the_manual_has_it(
    urls: Urls, settings: Any, request: pytest.FixtureRequest
) -> None:
    base_url = request.getfixturevalue("live_server").url
    old = begin_with(urls[0], settings)
    first = photo()
    work.drain(PUMP)
    old.write("a/large", [os.urandom(6_000_000)])
    call_command("media_store", "sweep", stdout=io.StringIO())
    half = Uploading(base_url)
    half.send(slice(0, 2))

    # 1. Copy while the old one is used.
    said = move("--to", urls[1])
    assert "Now set MEDIA_STORE_URL" in said
    new = open_store(urls[1])
    assert contents(new) == contents(old)
    between = photo()  # comes after its copy

    # 2. Switch: what is not there yet is read from the old one, what is new is written to the new.
    both = switch(urls, settings)
    assert b"".join(both.read(between.key)) == b"".join(old.read(between.key))
    assert both.size(between.key) == between.size
    for each in (first, between):
        first_bytes = httpx.get(readable_url(each, base_url=base_url)).content
        assert hashlib.sha256(first_bytes).hexdigest() == each.sha256
    after = photo()
    assert (exists(new, after.key), exists(old, after.key)) == (True, False)
    work.drain(PUMP)
    assert set(MediaObject.objects.exclude(state="declared").values_list("state", flat=True)) == {
        "ready"
    }
    # A phone goes on with what it began at the old one.
    half.resume()
    assert half.missing == [3, 4, 5]
    half.send(slice(0, None))
    half.finish()

    # 3. The rest.
    said = move()
    assert "unset MEDIA_STORE_OLD_URL" in said
    settings.MEDIA_STORE_OLD_URL = ""
    alone = get_store()
    for media in MediaObject.objects.all():
        assert hashlib.sha256(b"".join(alone.read(media.key))).hexdigest() == media.sha256
        for each in media.renditions.all():
            assert alone.size(each.key) == each.size
    assert witness.agree(alone, Housekeeping.ours())


class Uploading:
    """A phone in the middle of a file, with a weak line."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url
        self.content = pictures.jpeg(80, 60) + bytes(4 * PIECE_SIZE)
        self.media, self.upload, _created = declare_media(
            media_id=new_id(),
            owner=None,
            filename="b.jpg",
            content_type="image/jpeg",
            size=len(self.content),
            sha256=hashlib.sha256(self.content).hexdigest(),
            link="weak",
            base_url=base_url,
        )

    @property
    def missing(self) -> list[int]:
        return [part.number for part in self.upload.parts]

    def send(self, which: slice) -> None:
        for part in self.upload.parts[which]:
            assert put(part, self.content).status_code == 200

    def resume(self) -> None:
        self.upload = resume_upload(media=self.media, base_url=self.base_url)

    def finish(self) -> None:
        assert complete_media(media=self.media).state == "arrived"
        work.drain(receiving.PUMP)
        self.media.refresh_from_db()
        assert self.media.state == "stored"
        work.drain(PUMP)


def test_an_upload_of_which_nothing_came_begins_anew_at_the_new_one(
    urls: Urls, settings: Any, request: pytest.FixtureRequest
) -> None:
    base_url = request.getfixturevalue("live_server").url
    begin_with(urls[0], settings)
    upload = Uploading(base_url)
    move("--to", urls[1])
    settings.MEDIA_STORE_URL, settings.MEDIA_STORE_OLD_URL = urls[1], ""
    upload.resume()
    assert upload.missing == [1, 2, 3, 4, 5]
    upload.send(slice(0, None))
    upload.finish()


def test_deleting_deletes_on_both_sides(folders: Urls, settings: Any) -> None:
    old = begin_with(folders[0], settings)
    media = photo()
    move("--to", folders[1])
    switch(folders, settings).delete(media.key)
    assert not exists(old, media.key)
    assert not exists(open_store(folders[1]), media.key)


def environment(url: str, old_url: str = "") -> dict[str, str]:
    """Of a process that works on this test's database."""
    chosen = connection.settings_dict
    if connection.vendor == "sqlite":
        database = f"sqlite:///{chosen['NAME']}"
    else:
        server = os.environ["DATABASE_URL"].rpartition("/")[0]
        database = f"{server}/{chosen['NAME']}"
    return {
        **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
        "DATABASE_URL": database,
        "MEDIA_STORE_URL": url,
        "MEDIA_STORE_OLD_URL": old_url,
        "PYTHONPATH": str(ROOT),
        "DJANGO_SETTINGS_MODULE": "server.config.settings",
    }


MOVE_KILLED_AT_ITS_121ST = """
import itertools, os, signal
import django
from server.__main__ import main

django.setup()
from media_storage.moving import Move

copy, number = Move._copy, itertools.count(1)

def killed(*arguments):
    if next(number) == 121:
        os.kill(os.getpid(), signal.SIGKILL)
    return copy(*arguments)

Move._copy = killed
main()
"""


def test_a_move_that_is_killed_in_the_middle_goes_on_there(
    urls: Urls, settings: Any, tmp_path: Path
) -> None:
    old = begin_with(urls[0], settings)
    for number in range(250):
        old.write(f"202611/25/{number:04}", [os.urandom(2000)])
    new = open_store(urls[1])
    new.create()
    command = ["media_store", "move", "--to", urls[1], "--threads", "1"]
    killed = subprocess.run(
        [sys.executable, "-c", MOVE_KILLED_AT_ITS_121ST, *command],
        env={**environment(urls[0]), "VAR_DIR": str(tmp_path)},
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stdout + killed.stderr
    there = count(new)
    assert there == 120

    read: Counter[str] = Counter()
    second = Move(Counted(old, read), new, name=place_of(new))
    for _counts in second.run():
        pass
    assert contents(new) == contents(old)
    # What had been compared before the kill is not read again.
    assert 250 - there <= len(read) <= 250 - 100
    assert second.counts["moved"] == 250 - there


def place_of(store: Store) -> str:
    """The name under which the killed one kept its place."""
    import json

    name: str = json.loads(b"".join(store.read("witness/move")))["source"]
    assert "duxue-secret" not in name
    return name


def count(store: Store) -> int:
    return sum(1 for each in store.listed() if not each.key.startswith("witness/"))


class Counted:
    """A store that counts what is read."""

    def __init__(self, store: Store, read: Counter[str]) -> None:
        self.store, self.counter = store, read

    def read(self, key: str) -> Iterator[bytes]:
        if not key.startswith("witness/"):
            self.counter[key] += 1
        return self.store.read(key)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)


class Spoiling(Counted):
    """A store that gives back other bytes than it was given, or is away for a while."""

    def __init__(
        self, store: Store, *, wrong: str = "", away: int = 0, from_object: int = 2
    ) -> None:
        super().__init__(store, Counter())
        self.wrong, self.away, self.from_object = wrong, away, from_object

    def read(self, key: str) -> Iterator[bytes]:
        for chunk in self.store.read(key):
            yield chunk[::-1] if key == self.wrong else chunk

    def listed(self, prefix: str = "", *, after: str = "") -> Iterator[Any]:
        for number, each in enumerate(self.store.listed(prefix, after=after)):
            if number == self.from_object and self.away:
                self.away -= 1
                raise StoreUnavailable
            yield each


def test_a_copy_that_is_another_is_told(folders: Urls, settings: Any) -> None:
    old = begin_with(folders[0], settings)
    for name in ("a/1", "a/2", "a/3"):
        old.write(name, [os.urandom(100)])
    new = open_store(folders[1])
    new.create()
    told: list[tuple[str, str]] = []
    move_ = Move(
        *(old, Spoiling(new, wrong="a/2")),
        name="x",
        said=lambda outcome, key: told.append((outcome, key)),
    )
    for _counts in move_.run():
        pass
    assert told == [("failed", "a/2")]
    assert (move_.counts["moved"], move_.counts["failed"]) == (2, 1)


def test_an_original_that_is_not_what_its_row_says_is_moved_and_told(
    folders: Urls, settings: Any
) -> None:
    old = begin_with(folders[0], settings)
    media = photo()
    old.write(media.key, [b"bit rot"])
    with pytest.raises(CommandError, match="1 objects are not as they should be"):
        move("--to", folders[1])
    assert b"".join(open_store(folders[1]).read(media.key)) == b"bit rot"


def test_a_store_that_is_away_for_a_while_is_waited_for(folders: Urls, settings: Any) -> None:
    old = begin_with(folders[0], settings)
    for number in range(7):
        old.write(f"a/{number}", [os.urandom(100)])
    new = open_store(folders[1])
    new.create()
    pauses: list[float] = []
    away = Move(Spoiling(old, away=3), new, name="x", pause=pauses.append)
    for _counts in away.run():
        pass
    assert contents(new) == contents(old)
    assert pauses == [1.0, 1.0, 1.0]

    gone = Move(Spoiling(old, away=99, from_object=0), new, name="y", pause=pauses.append)
    with pytest.raises(StoreUnavailable):
        for _counts in gone.run():
            pass


def test_what_is_deleted_meanwhile_is_no_failure(folders: Urls, settings: Any) -> None:
    old = begin_with(folders[0], settings)
    old.write("a/1", [b"bytes"])
    old.write("a/2", [b"bytes"])
    new = open_store(folders[1])
    new.create()

    class Emptied(Counted):
        def read(self, key: str) -> Iterator[bytes]:
            if key == "a/2":
                raise ObjectMissing(key)
            return self.store.read(key)

    moving = Move(Emptied(old, Counter()), new, name="x")
    for _counts in moving.run():
        pass
    assert moving.counts["moved"] == 1
    assert moving.counts["gone"] >= 1


@pytest.mark.parametrize(
    ("arguments", "old", "message"),
    [
        ([], "", "Say where to"),
        (["--to", "folder:///tmp/x"], "folder:///tmp/y", "A move is under way"),
        (["--to", "ftp://host/x"], "", "must begin with folder:// or s3://"),
    ],
)
def test_a_move_to_nowhere_is_refused(
    arguments: list[str], old: str, message: str, settings: Any
) -> None:
    settings.MEDIA_STORE_OLD_URL = old
    with pytest.raises(CommandError, match=message):
        move(*arguments)


def test_a_move_onto_itself_is_refused(settings: Any) -> None:
    with pytest.raises(CommandError, match="This is the store"):
        move("--to", settings.MEDIA_STORE_URL)


def test_two_folders_tell_their_addresses_apart(
    folders: Urls, settings: Any, live_server: Any
) -> None:
    old = begin_with(folders[0], settings)
    old.write("a/b", [b"old"])
    [part] = Uploading(live_server.url).upload.parts[:1]
    both = switch(folders, settings)
    get_store().create()
    url = both.download_url(
        *("a/b",),
        filename="b.txt",
        content_type="text/plain",
        expires_in=timedelta(minutes=5),
        base_url=live_server.url,
    )
    assert httpx.get(url).content == b"old"
    both.write("a/b", [b"new"])
    assert httpx.get(url).content == b"old"  # it was given for that one
    assert b"".join(both.read("a/b")) == b"new"
    # A phone's address leads to where it was given for.
    assert httpx.put(part.url, content=bytes(part.size)).status_code == 200
    assert isinstance(old, FolderStore)
    assert len(list(old.uploads())) == 1
