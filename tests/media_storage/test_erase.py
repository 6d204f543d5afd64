"""Erasing leaves nothing: no object, rendition, upload, part or version, in any store."""

from __future__ import annotations

from pathlib import Path

import pytest

from media_storage.errors import StoreUnavailable
from media_storage.stores import TRASH, Link, ObjectMissing, Store, open_store
from media_storage.stores.both import BothStores
from media_storage.stores.folder import FolderStore
from tests.media_storage.conftest import put
from tests.media_storage.test_stores import LARGE, begun

pytestmark = pytest.mark.django_db(transaction=True)

KEY = "202611/23/abc"
OTHER = "202611/23/xyz"


def fill(store: Store) -> None:
    """An object with what was made from it and what was uploaded for it, and a neighbour."""
    for key in (KEY, f"{KEY}-small.jpg", f"{KEY}-shared.webp", OTHER):
        store.write(key, [b"bytes of ", key.encode()])
    if isinstance(store, FolderStore):
        store.write_at(f"incoming/{KEY}", [b"uploaded"])
    else:
        store.write(f"incoming/{KEY}", [b"uploaded"])


def left_of(store: Store) -> list[str]:
    """Everything that the store holds, by its own listing."""
    if isinstance(store, FolderStore):
        files = (path for path in store.root.rglob("*") if path.is_file())
        return sorted(str(path.relative_to(store.root)).removeprefix("objects/") for path in files)
    return sorted(each.key for each in store._listed(""))  # type: ignore[attr-defined]


def test_erasing_takes_the_object_and_all_that_belongs_to_it(store: Store) -> None:
    fill(store)
    assert {trace.split(" ")[0].removeprefix("objects/") for trace in store.traces(KEY)} == {
        KEY,
        f"{KEY}-small.jpg",
        f"{KEY}-shared.webp",
        f"incoming/{KEY}",
    }
    erased = store.erase(KEY)
    assert store.traces(KEY) == []
    assert {KEY, f"{KEY}-small.jpg", f"{KEY}-shared.webp", f"incoming/{KEY}"} <= set(erased.keys)
    assert erased.versions == 0
    assert left_of(store) == [OTHER]
    with pytest.raises(ObjectMissing):
        next(store.read(KEY))
    assert b"".join(store.read(OTHER)).endswith(OTHER.encode())


def test_erasing_what_is_not_there_is_fine(store: Store) -> None:
    for _ in range(2):
        assert set(store.erase(KEY, upload_id="unknown").keys) == {KEY, f"incoming/{KEY}"}


@pytest.mark.parametrize("link", ["weak", "good"])
def test_erasing_ends_an_upload_in_parts(store: Store, base_url: str, link: Link) -> None:
    known, upload = begun(store, base_url, LARGE, link)
    for part in upload.parts[:2]:
        assert put(part, LARGE).status_code == 200
    assert list(store.uploads())
    store.erase(known.key, upload_id=known.upload_id)
    assert left_of(store) == []
    assert list(store.uploads()) == []


def test_erasing_takes_what_the_sweeper_laid_into_the_trash(store: Store) -> None:
    fill(store)
    store.move(f"{KEY}-small.jpg", f"{TRASH}{KEY}-small.jpg")
    store.move(OTHER, f"{TRASH}{OTHER}")
    assert f"{TRASH}{KEY}-small.jpg" in store.erase(KEY).keys
    assert store.traces(KEY) == []
    assert left_of(store) == [f"{TRASH}{OTHER}"]


def test_while_objects_move_both_stores_are_erased(store: Store, tmp_path: Path) -> None:
    old = FolderStore(tmp_path / "old")
    for each in (old, store):
        fill(each)
    both = BothStores(store, old)
    traces = [*old.traces(KEY), *store.traces(KEY)]
    assert sorted(both.traces(KEY)) == sorted(traces)
    erased = both.erase(KEY, upload_id="unknown")
    assert {KEY, f"{KEY}-small.jpg", f"{KEY}-shared.webp", f"incoming/{KEY}"} <= set(erased.keys)
    assert (both.traces(KEY), left_of(old), left_of(store)) == ([], [OTHER], [OTHER])


@pytest.mark.parametrize("store_url", ["s3"], indirect=True)
def test_erasing_in_a_bucket_with_versions_takes_them_all(store: Store) -> None:
    client, bucket = store.client, store.bucket  # type: ignore[attr-defined]
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    fill(store)
    store.write(KEY, [b"a second version"])
    store.delete(KEY)
    before = client.list_object_versions(Bucket=bucket)
    assert len([each for each in before["Versions"] if each["Key"] == KEY]) == 2
    assert len([each for each in store.traces(KEY) if each.startswith(f"{KEY} ")]) == 3
    erased = store.erase(KEY)
    assert store.traces(KEY) == []
    assert erased.versions is not None
    assert erased.versions >= 5
    after = client.list_object_versions(Bucket=bucket)
    assert {each["Key"] for each in after["Versions"]} == {OTHER}
    assert not after.get("DeleteMarkers")


def test_a_store_that_is_away_erases_nothing_and_says_so() -> None:
    store = open_store("s3://KEY:SECRET@127.0.0.1:9/bucket?scheme=http&path_style=1")
    with pytest.raises(StoreUnavailable):
        store.erase(KEY)
