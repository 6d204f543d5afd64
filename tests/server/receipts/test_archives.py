"""Archives: exported, checked offline, and found out when anything in them is not as it was."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from datetime import date, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from media_storage.models import MediaObject
from media_storage.stores import get_store
from server.activities.models import Submission
from server.receipts import offline
from server.receipts.exporting import Scope, verifier, write_archive
from server.receipts.keys import PrivateKey
from server.receipts.models import Chain, DayHead, Receipt
from server.receipts.proof import Report, Unreadable, canonical
from server.receipts.queries import file_of, key_receipts
from tests.receipts import FIRST_KEY, SECOND_KEY, County

pytestmark = pytest.mark.django_db

FIRST = PrivateKey(bytes.fromhex(FIRST_KEY)).public
SECOND = PrivateKey(bytes.fromhex(SECOND_KEY)).public


@pytest.fixture
def whole(chained: County, tmp_path: Path) -> Path:
    """Everything, with the documents."""
    path = tmp_path / "all.zip"
    write_archive(path, Scope(documents=True))
    return path


def verify(path: Path, *anchors: str, key: str = FIRST, **options: Any) -> Report:
    options = {"document": None, "photos": None, **options}
    return offline.verify(file=path, key=[key] if key else [], anchor=anchors, **options)


def codes(report: Report) -> set[str]:
    return {flaw.code for flaw in report.flaws}


def test_an_archive_of_everything_is_sound_and_counts_what_it_holds(whole: Path):
    report = verify(whole)
    assert report.flaws == report.notes == []
    assert report.counts == {"receipts": 14, "days": 3, "keys": 2, "documents": 8, "files": 6}


def test_either_of_the_chains_keys_is_enough_to_trust_it_and_a_strangers_is_not(whole: Path):
    assert verify(whole, key=SECOND).is_sound
    assert codes(verify(whole, key=PrivateKey(bytes.fromhex("cc" * 32)).public)) == {"key"}
    assert FIRST in verify(whole, key="").notes[0]


@pytest.mark.parametrize("by", ["school", "activity", "far school"])
def test_an_archive_of_a_school_or_an_activity_holds_its_receipts_and_their_ways(
    chained: County, tmp_path: Path, by: str
):
    cast = chained.cast
    scope = {
        "school": Scope(school=cast.school, documents=True),
        "activity": Scope(activity=chained.visit.activity),
        "far school": Scope(school=cast.far_school),
    }[by]
    write_archive(tmp_path / "some.zip", scope)
    report = verify(tmp_path / "some.zip")
    assert report.flaws == []
    assert report.counts["receipts"] == (0 if by == "far school" else 12)
    assert report.counts["days"] == 3


def test_an_archive_of_some_days_holds_these_whole(chained: County, tmp_path: Path):
    day = date(2026, 11, 24)
    write_archive(tmp_path / "day.zip", Scope(first_day=day, last_day=day))
    report = verify(tmp_path / "day.zip")
    assert report.flaws == []
    assert report.counts["receipts"] == DayHead.objects.get(day=day).count


# ---- anything else than it was -------------------------------------------------------------------


def rewritten(path: Path, change: Callable[[str, bytes], bytes | None]) -> Path:
    """The archive with other members; None leaves one out."""
    target = path.with_name("changed.zip")
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(target, "w") as copy:
        for name in source.namelist():
            content = change(name, source.read(name))
            if content is not None:
                copy.writestr(name, content)
    return target


def is_found(path: Path, **options: Any) -> bool:
    try:
        return not verify(path, **options).is_sound
    except Unreadable:
        return True


NAMES = ("receipts.jsonl", "days.jsonl", "keys.jsonl", "photos.jsonl", "archive.json", "documents/")


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(name=st.sampled_from(NAMES), place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_any_one_changed_bit_of_an_archive_is_found(whole: Path, name: str, place: float, bit: int):
    with zipfile.ZipFile(whole) as archive:
        chosen = next(each for each in archive.namelist() if each.startswith(name))

    def flip(each: str, content: bytes) -> bytes:
        if each != chosen:
            return content
        changed = bytearray(content)
        changed[int(place * len(content))] ^= 1 << bit
        return bytes(changed)

    assert is_found(rewritten(whole, flip))


@pytest.mark.parametrize("name", ["receipts.jsonl", "days.jsonl", "keys.jsonl", "photos.jsonl"])
def test_any_line_that_is_removed_doubled_or_moved_is_found(whole: Path, name: str):
    with zipfile.ZipFile(whole) as archive:
        lines = archive.read(name).splitlines(keepends=True)
    assert len(lines) > 1
    for index, line in enumerate(lines):
        removed = [*lines[:index], *lines[index + 1 :]]
        doubled = [*lines[: index + 1], *lines[index:]]
        moved = [*removed, line] if index < len(lines) - 1 else [line, *removed]
        for changed in (removed, doubled, moved):
            if name == "photos.jsonl" and changed is not removed:
                continue  # a manifest has no order, and saying something twice says the same
            content = b"".join(changed)
            path = rewritten(whole, lambda each, was, new=content: new if each == name else was)
            assert is_found(path), (name, index)


def test_a_removed_or_added_member_is_found(whole: Path):
    with zipfile.ZipFile(whole) as archive:
        names = set(archive.namelist()) - {"README.txt", "verify.pyz"}
    for name in names:
        assert is_found(
            rewritten(whole, lambda each, was, gone=name: None if each == gone else was)
        )
    with zipfile.ZipFile(whole, "a") as archive:
        archive.writestr("documents/submission/00000000-0000-0000-0000-000000000007", b"{}")
    assert is_found(whole)


def test_a_receipt_left_out_of_a_schools_archive_is_found_by_the_signed_list(
    chained: County, tmp_path: Path
):
    write_archive(tmp_path / "some.zip", Scope(school=chained.cast.school))

    def without_the_first(name: str, content: bytes) -> bytes:
        return content.partition(b"\n")[2] if name == "receipts.jsonl" else content

    report = verify(rewritten(tmp_path / "some.zip", without_the_first))
    assert {flaw.where for flaw in report.flaws if flaw.code == "missing"} >= {"archive.json"}


def test_an_archive_written_without_the_key_says_that_its_list_is_not_signed(
    chained: County, tmp_path: Path, settings
):
    settings.RECEIPT_KEY = ""
    settings.RECEIPT_KEY_MADE = False
    write_archive(tmp_path / "a.zip", Scope())
    report = verify(tmp_path / "a.zip")
    assert report.is_sound
    assert "not signed" in report.notes[0]


def test_an_archive_that_ends_early_is_found_by_who_knows_a_later_day(chained, tmp_path: Path):
    heads = {str(head): head.hash for head in DayHead.objects.all()}
    write_archive(tmp_path / "a.zip", Scope())
    known = [f"{day}={hash}" for day, hash in heads.items()]
    assert verify(tmp_path / "a.zip", *known).is_sound
    head = DayHead.objects.get(number=1)
    Receipt.objects.filter(position__gt=head.count).delete()
    DayHead.objects.filter(number__gt=1).delete()
    last = Receipt.objects.latest("position")
    tuesday = head.day + timedelta(days=1)
    Chain.objects.update(position=last.position, last_hash=last.hash, open_day=tuesday)
    write_archive(tmp_path / "b.zip", Scope())
    assert verify(tmp_path / "b.zip").is_sound  # nothing in it contradicts it
    assert codes(verify(tmp_path / "b.zip", *known)) == {"anchor"}


def test_a_receipt_that_was_kept_is_an_anchor(whole: Path, tmp_path: Path):
    receipt = Receipt.objects.latest("position")
    kept = tmp_path / "kept.json"
    kept.write_bytes(canonical(file_of(receipt, key_receipts())))
    assert verify(whole, str(kept)).is_sound
    assert codes(verify(whole, f"{receipt.position}={'0' * 64}")) == {"anchor"}
    assert codes(verify(whole, f"{receipt.position + 1}={'0' * 64}")) == {"anchor"}


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 nothing", b"\x00" * 100])
def test_what_is_no_archive_cannot_be_read(tmp_path: Path, content: bytes):
    (tmp_path / "x.zip").write_bytes(content)
    with pytest.raises(Unreadable):
        verify(tmp_path / "x.zip")


# ---- photos and documents ------------------------------------------------------------------------


@pytest.fixture
def photos(chained: County, tmp_path: Path) -> Path:
    """All files, under names of somebody's choice."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, media in enumerate(MediaObject.objects.exclude(state="declared")):
        (folder / f"{number}.jpg").write_bytes(b"".join(get_store().read(media.key)))
    return folder


def test_photos_are_known_by_their_content(whole: Path, photos: Path):
    assert verify(whole, photos=photos).is_sound
    first = photos / "0.jpg"
    content = first.read_bytes()
    first.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert codes(verify(whole, photos=photos)) == {"missing", "extra"}
    first.unlink()
    assert codes(verify(whole, photos=photos)) == {"missing"}


# ---- one receipt -------------------------------------------------------------------------------


@pytest.fixture
def single(chained: County, tmp_path: Path) -> Path:
    """The receipt of Monday's photo, as the console gives it."""
    path = tmp_path / "receipt.json"
    receipt = Receipt.objects.get(subject=chained.ids["photo"])
    path.write_bytes(canonical(file_of(receipt, key_receipts())))
    return path


def test_one_receipt_is_checked_alone_with_its_day_its_document_and_its_photos(
    single: Path, chained: County, tmp_path: Path
):
    submission = Submission.objects.get(pk=chained.ids["photo"])
    document, photos = tmp_path / "document", tmp_path / "mine"
    document.write_bytes(bytes(submission.raw))
    photos.mkdir()
    media = submission.attachments.get().media
    (photos / "a.jpg").write_bytes(b"".join(get_store().read(media.key)))
    head = DayHead.objects.get(number=1)
    anchor = f"2026-11-23={head.hash}"
    report = verify(single, anchor, document=document, photos=photos)
    assert report.flaws == report.notes == []
    document.write_bytes(b"other")
    assert codes(verify(single, document=document)) == {"changed"}
    assert codes(verify(single, f"2026-11-23={'0' * 64}")) == {"anchor"}


def test_a_receipt_of_an_open_day_is_checked_by_its_signature(chained: County, tmp_path: Path):
    receipt = Receipt.objects.get(subject=chained.ids["thursday"])
    path = tmp_path / "receipt.json"
    path.write_bytes(canonical(file_of(receipt, key_receipts())))
    report = verify(path)
    assert report.is_sound
    assert "not closed" in report.notes[0]


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_any_one_changed_bit_of_a_receipts_file_is_found(single: Path, place: float, bit: int):
    content = bytearray(single.read_bytes())
    content[int(place * len(content))] ^= 1 << bit
    path = single.with_name("changed.json")
    path.write_bytes(bytes(content))
    assert is_found(path)


def test_a_bare_statement_is_checked_with_the_given_key(single: Path, tmp_path: Path):
    whole = json.loads(single.read_bytes())
    for name in ("receipt", "day"):
        path = tmp_path / f"{name}.json"
        # As a phone may keep it.
        path.write_text(json.dumps(whole[name], indent=2), encoding="utf-8")
        key = {PrivateKey(bytes.fromhex(seed)).id: seed for seed in (FIRST_KEY, SECOND_KEY)}
        signer = PrivateKey(bytes.fromhex(key[whole[name]["signed"]["key"]]))
        assert verify(path, key=signer.public).is_sound
        assert codes(verify(path, key="")) == {"key"}
        assert codes(verify(path, key=PrivateKey(bytes.fromhex("cc" * 32)).public)) == {"key"}


# ---- the verifier as a program -------------------------------------------------------------------


def run(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *map(str, arguments)], cwd=cwd, capture_output=True, text=True, check=False
    )


def test_the_verifier_in_the_archive_runs_by_itself(whole: Path, tmp_path: Path):
    with zipfile.ZipFile(whole) as archive:
        archive.extract("verify.pyz", tmp_path)
    assert (tmp_path / "verify.pyz").read_bytes()[:2] == b"#!"
    said = run("verify.pyz", whole, "--key", FIRST, cwd=tmp_path)
    assert (said.returncode, said.stdout.splitlines()[-1]) == (0, "Sound."), said.stderr
    said = run("verify.pyz", whole, "--key", "cc" * 32, cwd=tmp_path)
    assert (said.returncode, "NOT SOUND" in said.stdout) == (1, True)
    said = run("verify.pyz", tmp_path / "absent.zip", cwd=tmp_path)
    assert (said.returncode, said.stdout) == (2, "")
    said = run("verify.pyz", whole, "--key", "no key", cwd=tmp_path)
    assert said.returncode == 2


def test_the_verifier_of_an_archive_is_that_of_the_source_byte_for_byte(whole: Path):
    with zipfile.ZipFile(whole) as archive:
        assert archive.read("verify.pyz") == verifier()
    with zipfile.ZipFile(BytesIO(verifier())) as program:
        source = Path(str(offline.__file__)).read_bytes()
        assert program.read("server/receipts/offline.py") == source
