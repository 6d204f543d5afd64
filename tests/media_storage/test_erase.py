"""Erasing leaves nothing: no object, rendition, upload, part or version, in any store."""

from __future__ import annotations

import pytest

from media_storage.errors import StoreUnavailable
from media_storage.stores import ObjectMissing, Store, open_store
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


def test_erasing_ends_an_upload_in_parts(store: Store, base_url: str) -> None:
    known = begun(store, base_url)
    [first, *_rest] = store.upload_urls(known, base_url=base_url).parts
    assert put(first, LARGE).status_code == 200
    store.erase(known.key, upload_id=known.upload_id)
    assert left_of(store) == []
    if not isinstance(store, FolderStore):
        begun_uploads = store.client.list_multipart_uploads(Bucket=store.bucket)  # type: ignore[attr-defined]
        assert not begun_uploads.get("Uploads")


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
