"""Exports: what is in the ZIP is what is in the store, the manifest says so, and it ends again."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import zipfile
from datetime import timedelta
from uuid import uuid4

import pytest

from media_storage.errors import StoreUnavailable
from media_storage.keys import unnamed
from media_storage.models import MediaObject
from media_storage.stores import Store, get_store
from media_storage.stores.folder import FolderStore
from server.activities.models import Activity
from server.care import exporting
from server.care.deleting import PUMP as DELETIONS
from server.care.deleting import delete_now, request_deletion
from server.care.exporting import (
    PUMP,
    expire_old,
    keys_in_use,
    open_export,
    register_flags,
    request_export,
)
from server.care.models import Export
from server.care.originals import grant_originals
from server.core import clock, work
from server.core.audit import AuditEntry
from server.core.errors import Conflict, ContentConflict, Gone, Invalid, NotAllowed, NotFound
from server.findings.models import Finding
from server.grid.models import User
from server.messaging.models import Notice
from tests.cast import Cast
from tests.server.care.conftest import LONG_AGO, add_photo, answer_with

pytestmark = pytest.mark.django_db

BASE = "http://testserver"


def asked(activity: Activity, by: User, variant: str = "originals", reason: str = "存档") -> Export:
    export, _new = request_export(
        export_id=uuid4(), activity_id=activity.pk, by=by, variant=variant, reason=reason
    )
    return export


def made(activity: Activity, by: User, variant: str = "originals") -> Export:
    export = asked(activity, by, variant)
    work.drain(PUMP)
    export.refresh_from_db()
    return export


def opened(export: Export) -> zipfile.ZipFile:
    content = b"".join(get_store().read(export.key))
    assert hashlib.sha256(content).hexdigest() == export.sha256
    assert len(content) == export.size
    return zipfile.ZipFile(io.BytesIO(content))


def manifest(archive: zipfile.ZipFile) -> dict[str, dict[str, object]]:
    document = json.loads(archive.read("manifest.json"))
    return {each["media_id"]: each for each in document["files"]}


def test_the_originals_come_out_byte_for_byte(
    store: Store, photo: MediaObject, finding: Finding, activity: Activity, cast: Cast
) -> None:
    evidence = add_photo(cast.principal)
    answer_with(finding, cast.principal, evidence)
    export = made(activity, cast.office)
    assert (export.state, export.total, export.done, export.skipped) == ("ready", 2, 2, 0)
    archive = opened(export)
    assert archive.testzip() is None
    lines = manifest(archive)
    for media in (photo, evidence):
        line = lines[str(media.pk)]
        content = archive.read(str(line["path"]))
        assert content == b"".join(store.read(media.key))
        assert line["sha256"] == media.sha256 == hashlib.sha256(content).hexdigest()


def test_folders_say_school_visit_and_question_in_chinese(
    photo: MediaObject, finding: Finding, activity: Activity, cast: Cast
) -> None:
    answer_with(finding, cast.principal, add_photo(cast.principal))
    archive = opened(made(activity, cast.office))
    day = clock.today().isoformat()
    assert sorted(archive.namelist()) == [
        "manifest.csv",
        "manifest.json",
        f"东河镇中心小学/{day} 安督学/整改：未公示食品经营许可证/整改后.jpg",
        f"东河镇中心小学/{day} 安督学/食品经营许可证是否公示/licence.jpg",
    ]


def test_the_manifest_says_all_that_is_known(
    photo: MediaObject, activity: Activity, cast: Cast, monkeypatch
) -> None:
    monkeypatch.setattr(exporting, "_flag_sources", [])
    register_flags(lambda keys: {photo.pk: ["拍摄地点离学校较远"]} if photo.pk in keys else {})
    MediaObject.objects.update(latitude=33.0, longitude=108.0, accuracy_m=5.0)
    export = made(activity, cast.office)
    archive = opened(export)
    document = json.loads(archive.read("manifest.json"))
    assert document["exported_by"]["name"] == "方主任"
    assert document["activity"]["title"] == activity.title
    assert document["totals"] == {"packed": 1, "skipped": 0}
    [line] = document["files"]
    assert line["flags"] == ["拍摄地点离学校较远"]
    assert (line["latitude"], line["longitude"], line["accuracy_m"]) == (33.0, 108.0, 5.0)
    submission = photo.submission_attachments.get().submission
    assert line["submission_id"] == str(submission.pk)
    raw = archive.read("manifest.csv")
    assert raw.startswith(b"\xef\xbb\xbf")
    [row] = csv.DictReader(io.StringIO(raw.decode("utf-8-sig")))
    assert (row["学校"], row["SHA-256"]) == (cast.school.name, photo.sha256)
    assert row["提示"] == "拍摄地点离学校较远"


def test_a_formula_in_a_name_stays_text_in_the_table(
    photo: MediaObject, activity: Activity, cast: Cast
) -> None:
    MediaObject.objects.update(filename="=cmd|calc.jpg")
    raw = opened(made(activity, cast.office)).read("manifest.csv").decode("utf-8-sig")
    [row] = csv.DictReader(io.StringIO(raw))
    assert row["原文件名"] == "'=cmd|calc.jpg"


def test_shared_copies_never_fall_back_to_an_original(
    photo: MediaObject, finding: Finding, activity: Activity, cast: Cast
) -> None:
    evidence = add_photo(cast.principal)
    answer_with(finding, cast.principal, evidence)
    copy = b"".join(get_store().read(photo.renditions.get(name="shared").key))
    export = made(activity, cast.town_group, "shared")
    assert (export.done, export.skipped) == (1, 1)
    archive = opened(export)
    lines = manifest(archive)
    line = lines[str(photo.pk)]
    assert archive.read(str(line["path"])) == copy
    assert line["sha256"] == hashlib.sha256(copy).hexdigest()
    assert line["original_sha256"] == photo.sha256
    assert lines[str(evidence.pk)]["remark"] == "没有共享图，未放入"
    assert len(archive.namelist()) == 3
    assert not AuditEntry.objects.filter(action="media.original_exported").exists()


def test_each_original_that_is_packed_is_in_the_log(
    photo: MediaObject, activity: Activity, cast: Cast
) -> None:
    export = made(activity, cast.office)
    entry = AuditEntry.objects.get(action="media.original_exported")
    assert (entry.by, entry.object_id, entry.school_id) == (cast.office, photo.pk, cast.school.pk)
    assert entry.details["export"] == str(export.pk)
    open_export(export_id=export.pk, by=cast.office, base_url=BASE)
    actions = AuditEntry.objects.filter(object_id=export.pk).order_by("pk")
    assert [entry.action for entry in actions] == ["export.requested", "export.opened"]


def test_originals_need_the_right_and_a_reason(
    photo: MediaObject, activity: Activity, cast: Cast
) -> None:
    with pytest.raises(NotAllowed):
        asked(activity, cast.town_group)
    with pytest.raises(Invalid):
        asked(activity, cast.office, reason=" ")
    grant_originals(
        by=cast.office, user_id=cast.town_group.pk, school_id=cast.school.pk, reason="复核"
    )
    assert made(activity, cast.town_group).done == 1


def test_the_right_is_looked_at_again_when_it_is_made(
    photo: MediaObject, activity: Activity, cast: Cast
) -> None:
    export = asked(activity, cast.office)
    cast.office.memberships.update(ends=clock.today() - timedelta(days=1))
    work.drain(PUMP)
    export.refresh_from_db()
    assert (export.state, export.done) == ("ready", 0)


@pytest.mark.parametrize("who", ["ada", "carla", "principal", "expert"])
def test_who_holds_no_office_exports_nothing(
    who: str, photo: MediaObject, activity: Activity, cast: Cast
) -> None:
    with pytest.raises(NotFound):
        asked(activity, getattr(cast, who), "shared")


def test_a_town_group_exports_its_own_schools_only(
    photo: MediaObject, activity: Activity, cast: Cast
) -> None:
    from server.care.queries import exportable

    visit = photo.submission_attachments.get().submission.visit
    type(visit).objects.filter(school=cast.far_school).delete()
    type(visit).objects.filter(pk=visit.pk).update(school=cast.far_school)
    assert not exportable(cast.town_group, activity).exists()
    assert exportable(cast.office, activity).exists()


def test_an_export_is_its_maker_s_alone(photo: MediaObject, activity: Activity, cast: Cast) -> None:
    export = made(activity, cast.office)
    assert open_export(export_id=export.pk, by=cast.office, base_url=BASE).url
    for other in (cast.town_group, cast.ada, cast.carla):
        with pytest.raises(NotFound):
            open_export(export_id=export.pk, by=other, base_url=BASE)


def test_the_same_request_again_is_the_same_export(
    photo: MediaObject, activity: Activity, cast: Cast
) -> None:
    values = {
        "export_id": uuid4(),
        "activity_id": activity.pk,
        "by": cast.office,
        "variant": "shared",
    }
    first, new = request_export(**values)
    again, newer = request_export(**values)
    assert (first, new, newer) == (again, True, False)
    with pytest.raises(ContentConflict):
        request_export(**{**values, "variant": "originals", "reason": "x"})


def test_nobody_has_many_made_at_once(photo: MediaObject, activity: Activity, cast: Cast) -> None:
    for _ in range(exporting.MAX_UNFINISHED):
        asked(activity, cast.office, "shared")
    with pytest.raises(Conflict):
        asked(activity, cast.office, "shared")


def test_who_asked_is_told_when_it_is_done(
    photo: MediaObject, activity: Activity, cast: Cast
) -> None:
    export = made(activity, cast.office)
    notice = Notice.objects.get(event="export.ready")
    assert [each.recipient for each in notice.deliveries.filter(channel="inbox")] == [cast.office]
    assert notice.params["count"] == "1"
    assert export.expires_at - export.ready_at == timedelta(days=7)


def test_progress_is_told_while_it_is_made(
    photo: MediaObject, finding: Finding, activity: Activity, cast: Cast, monkeypatch
) -> None:
    answer_with(finding, cast.principal, *(add_photo(cast.principal) for _ in range(3)))
    monkeypatch.setattr(exporting, "PROGRESS_SECONDS", 0)
    told: list[tuple[int, int]] = []
    extend = work.extend

    def spy(pump, row):
        extend(pump, row)
        told.append(Export.objects.values_list("done", "total").get())

    monkeypatch.setattr(work, "extend", spy)
    made(activity, cast.office)
    assert told == sorted(told)
    assert {(0, 4), (1, 4), (2, 4), (3, 4)} <= set(told)


def test_an_export_that_is_broken_off_is_made_anew_under_another_key(
    photo: MediaObject, activity: Activity, cast: Cast, monkeypatch
) -> None:
    export = asked(activity, cast.office)
    keys = {export.key}
    write = FolderStore.write

    def away(store: FolderStore, key: str, chunks: object) -> object:
        keys.add(key)
        next(iter(chunks))  # type: ignore[call-overload]
        raise StoreUnavailable

    monkeypatch.setattr(FolderStore, "write", away)
    work.drain(PUMP)
    monkeypatch.setattr(FolderStore, "write", write)
    Export.objects.update(work_due_at=clock.now())
    work.drain(PUMP)
    export.refresh_from_db()
    assert export.state == "ready"
    assert export.key not in keys
    assert opened(export).testzip() is None


def test_a_worker_that_ends_gives_the_export_back_untried(
    photo: MediaObject, activity: Activity, cast: Cast, monkeypatch
) -> None:
    export = asked(activity, cast.office)
    monkeypatch.setattr(exporting, "PROGRESS_SECONDS", 0)
    read = FolderStore.read

    def stopping(store: FolderStore, key: str):
        work.stopping.set()
        return read(store, key)

    monkeypatch.setattr(FolderStore, "read", stopping)
    try:
        work.drain(PUMP)
    finally:
        work.stopping.clear()
    export.refresh_from_db()
    assert (export.state, export.work_attempts) == ("making", 0)
    monkeypatch.setattr(FolderStore, "read", read)
    work.drain(PUMP)
    export.refresh_from_db()
    assert export.state == "ready"


def test_a_worker_that_lost_its_lease_finishes_nothing(
    photo: MediaObject, activity: Activity, cast: Cast
) -> None:
    asked(activity, cast.office)
    [row] = work.claim(PUMP)
    Export.objects.update(work_due_at=clock.now() - timedelta(seconds=1))
    [other] = work.claim(PUMP)
    work.run(PUMP, other)
    first = Export.objects.get()
    work.run(PUMP, row)
    again = Export.objects.get()
    assert (first.state, first.key, first.sha256) == (again.state, again.key, again.sha256)
    assert Notice.objects.filter(event="export.ready").count() == 1


def test_an_export_that_cannot_be_made_says_so(
    photo: MediaObject, activity: Activity, cast: Cast, monkeypatch
) -> None:
    export = asked(activity, cast.office)

    def away(*_arguments: object) -> object:
        raise StoreUnavailable

    monkeypatch.setattr(FolderStore, "write", away)
    for _ in range(PUMP.max_attempts):
        Export.objects.update(work_due_at=clock.now())
        work.drain(PUMP)
    export.refresh_from_db()
    assert export.state == "failed"
    assert Notice.objects.filter(event="export.failed").exists()


def test_a_file_whose_bytes_are_missing_is_named_and_the_rest_is_packed(
    photo: MediaObject, finding: Finding, activity: Activity, cast: Cast
) -> None:
    evidence = add_photo(cast.principal)
    answer_with(finding, cast.principal, evidence)
    get_store().delete(photo.key)
    get_store().write(evidence.key, [b"other bytes than were declared"])
    export = made(activity, cast.office)
    assert (export.done, export.skipped) == (1, 1)
    lines = manifest(opened(export))
    assert lines[str(photo.pk)]["remark"] == "存储中没有这个文件"
    assert lines[str(evidence.pk)]["remark"] == "内容与登记的校验值不符"


# ---- its end ---------------------------------------------------------------------------------


def test_an_export_expires_and_its_bytes_go(
    store: Store, photo: MediaObject, activity: Activity, cast: Cast
) -> None:
    export = made(activity, cast.office)
    assert export.key in set(keys_in_use())
    assert unnamed([export.key, "exports/nobodys"]) == {"exports/nobodys"}
    assert expire_old() == 0
    Export.objects.update(expires_at=clock.now())
    with pytest.raises(Gone):
        open_export(export_id=export.pk, by=cast.office, base_url=BASE)
    assert expire_old() == 1
    assert store.traces(export.key) == []
    assert export.key not in set(keys_in_use())
    assert unnamed([export.key]) == {export.key}
    export.refresh_from_db()
    assert export.state == "expired"
    with pytest.raises(Gone):
        open_export(export_id=export.pk, by=cast.office, base_url=BASE)


def test_an_unfinished_export_is_not_handed_out(
    photo: MediaObject, activity: Activity, cast: Cast
) -> None:
    export = asked(activity, cast.office)
    with pytest.raises(Conflict):
        open_export(export_id=export.pk, by=cast.office, base_url=BASE)


def test_a_deleted_file_does_not_live_on_in_an_export(
    photo: MediaObject, activity: Activity, cast: Cast
) -> None:
    export = made(activity, cast.office)
    MediaObject.objects.update(stored_at=clock.now() - LONG_AGO)
    [row] = request_deletion(media_ids=[photo.pk], by=cast.office, reason="家长要求")
    delete_now(deletion_id=row.pk, by=cast.office)
    work.drain(DELETIONS)
    row.refresh_from_db()
    export.refresh_from_db()
    assert (row.state, export.state) == ("deleted", "expired")
    assert get_store().traces(export.key) == []


def test_an_export_during_which_a_file_was_deleted_is_made_anew_without_it(
    photo: MediaObject, activity: Activity, cast: Cast, monkeypatch
) -> None:
    export = asked(activity, cast.office)
    write = FolderStore.write

    def deleted_meanwhile(store: FolderStore, key: str, chunks: object) -> object:
        written = write(store, key, chunks)  # type: ignore[arg-type]
        MediaObject.objects.update(state="deleted")
        return written

    monkeypatch.setattr(FolderStore, "write", deleted_meanwhile)
    work.drain(PUMP)
    export.refresh_from_db()
    assert (export.state, "deleted meanwhile" in export.work_error) == ("making", True)
    monkeypatch.setattr(FolderStore, "write", write)
    Export.objects.update(work_due_at=clock.now())
    work.drain(PUMP)
    export.refresh_from_db()
    assert (export.state, export.done) == ("ready", 0)


def test_making_costs_the_same_number_of_queries_for_a_batch_of_any_size(
    photo: MediaObject,
    finding: Finding,
    activity: Activity,
    cast: Cast,
    django_assert_max_num_queries,
) -> None:
    answer_with(finding, cast.principal, *(add_photo(cast.principal) for _ in range(8)))
    asked(activity, cast.office)
    with django_assert_max_num_queries(75):
        work.drain(PUMP)
    assert Export.objects.get().done == 9
