"""Posted submissions: joined in any order, the same again a success, and no refusal leaves a trace."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from django.db import OperationalError
from lxml import etree

from media_storage.models import MediaObject
from server.activities.models import RefusedDocument, Submission, SubmissionConflict, Visit
from server.activities.services.planning import close_activity
from server.core import work
from server.findings.models import Finding
from server.instruments.models import InstrumentVersion
from tests.cast import Cast
from tests.media_storage.pictures import png_claiming
from tests.mobile_api.openrosa.conftest import (
    FRONT,
    SIDE,
    Collector,
    CollectorOf,
    Part,
    gate_xml,
    message,
    multipart,
    stored_objects,
    xml_part,
)

pytestmark = pytest.mark.django_db

FRONT_PART: Part = ("front.jpg", "image/jpeg", FRONT)
SIDE_PART: Part = ("side.jpg", "image/jpeg", SIDE)


@pytest.fixture
def ada(cast: Cast, gate_visit: Visit, collector: CollectorOf) -> Collector:
    return collector(cast.ada)


def with_photos(gate: InstrumentVersion, **changes: str) -> bytes:
    return gate_xml(gate, front="front.jpg", side="side.jpg", **changes)


def media_of(submission: Submission) -> dict[str, MediaObject | None]:
    return {each.name: each.media for each in submission.attachments.select_related("media")}


# ---- what is taken ----------------------------------------------------------------------------


def test_head_tells_how_much_may_be_sent_at_once(ada: Collector, settings):
    response = ada.client.head(f"{ada.root}/submission")
    assert response.status_code == 204
    assert response["X-OpenRosa-Accept-Content-Length"] == str(settings.MAX_UPLOAD_BYTES)
    assert response["X-OpenRosa-Version"] == "1.0"


def test_a_whole_submission_in_one_post_is_stored_with_its_photos(
    ada: Collector, gate: InstrumentVersion, gate_visit: Visit, cast: Cast
):
    instance = str(uuid4())
    xml = with_photos(gate, instance=instance, visit_id=str(gate_visit.pk))
    response = ada.send(xml_part(xml), FRONT_PART, SIDE_PART)
    root = etree.fromstring(response.content)
    metadata = root.find("{http://www.opendatakit.org/xforms}submissionMetadata")
    assert metadata is not None
    assert metadata.get("instanceID") == f"uuid:{instance}"
    assert metadata.get("isComplete") == "true"
    stored = Submission.objects.get()
    assert (stored.pk, stored.visit, stored.sender) == (UUID(instance), gate_visit, cast.ada)
    assert bytes(stored.raw) == xml
    media = media_of(stored)
    assert media["front.jpg"].size == len(FRONT)
    assert media["front.jpg"].owner == cast.ada
    work.drain_all()
    assert {each.state for each in media_of(stored).values()} == {"ready"}


def test_the_parts_may_come_in_any_order(ada: Collector, gate: InstrumentVersion):
    for order in permutations([xml_part(with_photos(gate)), FRONT_PART, SIDE_PART]):
        xml = xml_part(with_photos(gate))
        ada.send(*(xml if part[0] == xml[0] else part for part in order))
    assert Submission.objects.count() == 6


@pytest.mark.parametrize("order", list(permutations([(), (FRONT_PART,), (SIDE_PART,)])))
def test_posts_of_one_submission_join_in_any_order(
    ada: Collector, gate: InstrumentVersion, order: tuple[tuple[Part, ...], ...]
):
    xml = xml_part(with_photos(gate))
    missing = {"front.jpg", "side.jpg"}
    for number, parts in enumerate(order):
        last = number == 2
        missing -= {part[0] for part in parts}
        status = 202 if missing else 201
        response = ada.send(xml, *parts, incomplete=not last, status=status)
        assert all(name in message(response) for name in missing)
    assert all(media_of(Submission.objects.get()).values())


def test_the_same_again_is_the_same_success_and_stores_nothing_more(
    ada: Collector,
    gate: InstrumentVersion,
    media_folder: Path,
    django_capture_on_commit_callbacks,
):
    xml = xml_part(with_photos(gate))
    ada.send(xml, FRONT_PART, status=202)
    before = stored_objects(media_folder)
    with django_capture_on_commit_callbacks(execute=True):
        ada.send(xml, FRONT_PART, status=202)
    assert stored_objects(media_folder) == before
    ada.send(xml, SIDE_PART)
    with django_capture_on_commit_callbacks(execute=True):
        ada.send(xml, FRONT_PART, SIDE_PART)
    assert Submission.objects.count() == 1
    assert MediaObject.objects.count() == len(stored_objects(media_folder)) == 2


def test_other_content_under_the_same_id_is_a_conflict_and_both_are_kept_with_their_files(
    ada: Collector,
    gate: InstrumentVersion,
    media_folder: Path,
    django_capture_on_commit_callbacks,
):
    instance = str(uuid4())
    ada.send(xml_part(with_photos(gate, instance=instance)), FRONT_PART, SIDE_PART)
    other = with_photos(gate, instance=instance, guard="no")
    for _again in range(2):
        with django_capture_on_commit_callbacks(execute=True):
            refused = ada.send(xml_part(other), FRONT_PART, status=409)
        assert "两份都已保留" in message(refused)
    document, photo = SubmissionConflict.objects.order_by("name")
    assert bytes(document.raw) == other
    assert (photo.name, photo.media.size) == ("front.jpg", len(FRONT))
    assert MediaObject.objects.count() == len(stored_objects(media_folder)) == 3


def test_another_photo_under_the_same_name_is_a_conflict_and_both_are_kept(
    ada: Collector, gate: InstrumentVersion, media_folder: Path
):
    xml = xml_part(with_photos(gate))
    ada.send(xml, FRONT_PART, SIDE_PART)
    ada.send(xml, ("front.jpg", "image/jpeg", SIDE), status=409)
    assert SubmissionConflict.objects.get().name == "front.jpg"
    assert len(stored_objects(media_folder)) == 3


def test_an_edit_replaces_the_earlier_submission_and_mends_its_finding(
    ada: Collector, gate: InstrumentVersion, gate_visit: Visit
):
    first, second = str(uuid4()), str(uuid4())
    place = {"visit_id": str(gate_visit.pk)}
    ada.send(xml_part(gate_xml(gate, instance=first, guard="no", **place)))
    work.drain_all()
    assert Finding.objects.get().state == Finding.State.OPEN
    ada.send(xml_part(gate_xml(gate, instance=second, old=first, **place)))
    work.drain_all()
    edit = Submission.objects.get(pk=second)
    assert (edit.replaces_id, edit.root_id) == (UUID(first), UUID(first))
    assert Finding.objects.get().state == Finding.State.WITHDRAWN


def test_a_strange_date_and_any_part_name_beside_the_files_are_accepted(
    ada: Collector, gate: InstrumentVersion
):
    xml = gate_xml(gate, front="front.jpg")
    photo = (
        b'--b0und4ry\r\nContent-Disposition: form-data; name="photo1"; filename="front.jpg"'
        b"\r\n\r\n" + FRONT + b"\r\n"
    )
    body = photo + multipart([xml_part(xml)])
    ada.send_raw(body, status=201, date="quarter past nine", x_openrosa_version="9")


def test_a_file_that_is_not_what_it_claims_is_taken_and_rejected_with_its_record_kept(
    ada: Collector, gate: InstrumentVersion
):
    bomb: Part = ("side.png", "image/png", png_claiming(60_000, 60_000))
    xml = gate_xml(gate, front="front.jpg", side="side.png")
    ada.send(xml_part(xml), ("front.jpg", "image/jpeg", b"just text"), bomb)
    work.drain_all()
    media = media_of(Submission.objects.get())
    assert media["front.jpg"].reject_code == MediaObject.Rejection.TYPE_MISMATCH
    assert media["side.png"].reject_code == MediaObject.Rejection.TOO_MANY_PIXELS


def test_an_empty_file_is_taken_and_rejected_with_its_record_kept(
    ada: Collector, gate: InstrumentVersion
):
    ada.send(xml_part(gate_xml(gate, front="front.jpg")), ("front.jpg", "image/jpeg", b""))
    assert media_of(Submission.objects.get())["front.jpg"].reject_code == "empty"


def test_the_type_comes_from_the_name_where_the_part_says_nothing(
    ada: Collector, gate: InstrumentVersion
):
    xml = xml_part(gate_xml(gate, front="front.jpg"))
    ada.send(xml, ("front.jpg", "application/octet-stream", FRONT))
    assert media_of(Submission.objects.get())["front.jpg"].content_type == "image/jpeg"


def test_a_body_without_a_length_is_read_to_its_end(
    ada: Collector, gate: InstrumentVersion, settings, nothing_stored
):
    body = multipart([xml_part(gate_xml(gate, front="front.jpg")), FRONT_PART])
    settings.MAX_UPLOAD_BYTES = len(body) - 1
    assert chunked(ada, body).status_code == 413
    nothing_stored()
    settings.MAX_UPLOAD_BYTES = len(body)
    assert chunked(ada, body).status_code == 201


def chunked(ada: Collector, body: bytes):
    """As granian hands a chunked body on: no length, and an input that ends by itself."""
    return ada.client.post(
        f"{ada.root}/submission",
        content_type="multipart/form-data; boundary=b0und4ry",
        CONTENT_LENGTH="",
        HTTP_TRANSFER_ENCODING="chunked",
        **{"wsgi.input": CountingInput(body), "wsgi.input_terminated": True},
    )


# ---- what is refused --------------------------------------------------------------------------


def test_a_finding_needs_no_second_look_at_a_stranger(
    cast: Cast,
    gate: InstrumentVersion,
    gate_visit: Visit,
    collector: CollectorOf,
    nothing_stored: Callable[[], None],
):
    carla = collector(cast.carla)
    xml = gate_xml(gate, visit_id=str(gate_visit.pk), front="front.jpg")
    refused = carla.send(xml_part(xml), FRONT_PART, status=404)
    assert "没有分配给您" in message(refused)
    nothing_stored()


def test_a_closed_activity_takes_nothing(
    ada: Collector, cast: Cast, gate: InstrumentVersion, gate_visit: Visit, nothing_stored
):
    close_activity(activity_id=gate_visit.activity_id, by=cast.office)
    xml = gate_xml(gate, visit_id=str(gate_visit.pk), front="front.jpg")
    assert "活动已结束" in message(ada.send(xml_part(xml), FRONT_PART, status=409))
    nothing_stored()


@pytest.mark.parametrize(
    ("xml", "status", "words"),
    [
        (b"", 400, "空"),
        (b"<data><unclosed></data>", 400, "XML"),
        (b"\xff\xfe<data/>", 400, "UTF-8"),
        (b'<data id="gate" version="1">\xe4</data>', 400, "UTF-8"),
        (b'<!DOCTYPE d [<!ENTITY a "b">]><data id="gate"/>', 400, "DOCTYPE"),
        (b'<data id="gate" version="1"/>', 400, "instanceID"),
        (gate_xml("2000010101"), 404, "2000010101"),
        (gate_xml("2000010101").replace(b'"gate"', b'"nowhere"'), 404, "nowhere"),
    ],
)
def test_a_document_that_cannot_be_read_is_refused_with_a_sentence(
    ada: Collector, xml: bytes, status: int, words: str, nothing_stored
):
    for parts in ([xml_part(xml), FRONT_PART], [FRONT_PART, xml_part(xml)]):
        assert words in message(ada.send(*parts, status=status))
    nothing_stored()


@pytest.mark.parametrize(
    ("changes", "place"),
    [({"guard": "perhaps"}, "guard"), ({"guard": ""}, "guard"), ({"colour": "red"}, "colour")],
)
def test_answers_that_break_the_forms_rules_are_refused_with_the_field(
    ada: Collector, gate: InstrumentVersion, changes: dict[str, str], place: str, nothing_stored
):
    xml = gate_xml(gate, front="front.jpg", **changes)
    assert place in message(ada.send(FRONT_PART, xml_part(xml), status=400))
    nothing_stored()


def test_a_refused_document_is_kept_for_the_office_and_a_broken_post_is_not(
    ada: Collector, gate: InstrumentVersion, settings
):
    broken = multipart([xml_part(gate_xml(gate, front="front.jpg")), FRONT_PART])[:-50]
    ada.send_raw(broken, status=400)
    settings.MAX_DOCUMENT_BYTES = 10
    ada.send(xml_part(gate_xml(gate)), status=413)
    assert not RefusedDocument.objects.exists()
    settings.MAX_DOCUMENT_BYTES = 10_000
    wrong = gate_xml(gate, guard="perhaps")
    ada.send(xml_part(wrong), status=400)
    assert bytes(RefusedDocument.objects.get().raw) == wrong


def test_a_file_that_the_document_does_not_name_is_refused_by_name(
    ada: Collector, gate: InstrumentVersion, nothing_stored
):
    xml = xml_part(gate_xml(gate, front="front.jpg"))
    for parts in ([xml, FRONT_PART, SIDE_PART], [SIDE_PART, FRONT_PART, xml]):
        assert "side.jpg" in message(ada.send(*parts, status=400))
    nothing_stored()


def test_the_same_file_or_document_twice_is_refused(
    ada: Collector, gate: InstrumentVersion, nothing_stored
):
    xml = xml_part(gate_xml(gate, front="front.jpg"))
    assert "front.jpg" in message(ada.send(xml, FRONT_PART, FRONT_PART, status=400))
    assert "两次" in message(ada.send(xml, FRONT_PART, xml, status=400))
    nothing_stored()


def test_files_without_a_document_are_refused(ada: Collector, nothing_stored):
    assert "xml_submission_file" in message(ada.send(FRONT_PART, status=400))
    assert "xml_submission_file" in message(ada.send(status=400))
    nothing_stored()


def test_a_file_without_any_name_is_refused(ada: Collector, nothing_stored):
    body = b'--b0und4ry\r\nContent-Disposition: form-data; name=""\r\n\r\nx\r\n--b0und4ry--\r\n'
    assert "没有名称" in message(ada.send_raw(body, status=400))
    nothing_stored()


def test_a_body_that_broke_off_anywhere_is_refused_and_leaves_nothing(
    ada: Collector, gate: InstrumentVersion, nothing_stored
):
    body = multipart([xml_part(gate_xml(gate, front="front.jpg", side="side.jpg")), FRONT_PART])
    for end in range(1, len(body) - 6, 97):
        assert "不完整" in message(ada.send_raw(body[:end], status=400))
    nothing_stored()


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("text/xml", 415),
        ("application/x-www-form-urlencoded", 415),
        ("multipart/mixed; boundary=b0und4ry", 415),
        ("", 415),
        ("multipart/form-data", 400),
        ("multipart/form-data; boundary=", 400),
        ("multipart/form-data; boundary=other", 400),
    ],
)
def test_another_kind_of_body_is_refused(
    ada: Collector, gate: InstrumentVersion, content_type: str, status: int, nothing_stored
):
    body = multipart([xml_part(gate_xml(gate))])
    assert message(ada.send_raw(body, content_type=content_type, status=status))
    nothing_stored()


def test_a_body_over_the_limit_is_refused_before_it_is_read(
    ada: Collector, gate: InstrumentVersion, settings, monkeypatch, nothing_stored
):
    body = multipart([xml_part(gate_xml(gate, front="front.jpg")), FRONT_PART])
    settings.MAX_UPLOAD_BYTES = len(body) - 1

    def read(*_args: object) -> bytes:
        raise AssertionError("the body was read")

    monkeypatch.setattr("django.http.request.HttpRequest.read", read)
    assert "字节" in message(ada.send_raw(body, status=413))
    nothing_stored()


def test_a_document_or_a_photo_over_its_limit_is_refused(
    ada: Collector, gate: InstrumentVersion, settings, monkeypatch, nothing_stored
):
    settings.MAX_DOCUMENT_BYTES = 100
    assert "100" in message(ada.send(FRONT_PART, xml_part(gate_xml(gate)), status=413))
    settings.MAX_DOCUMENT_BYTES = 10_000
    monkeypatch.setattr("media_storage.formats.MAX_IMAGE_BYTES", 500)
    xml = xml_part(gate_xml(gate, front="front.jpg"))
    ada.send(xml, FRONT_PART, status=413)
    nothing_stored()


def test_too_many_parts_and_too_long_headers_are_refused(
    ada: Collector, gate: InstrumentVersion, monkeypatch, nothing_stored
):
    monkeypatch.setattr("mobile_api.openrosa.uploads.MAX_PARTS", 3)
    xml = gate_xml(gate, front="front.jpg", side="side.jpg")
    ada.send(FRONT_PART, SIDE_PART, xml_part(xml), incomplete=True, status=413)
    ada.send(FRONT_PART, ("x" * 5000, "image/jpeg", SIDE), status=413)
    nothing_stored()


def test_a_store_that_is_down_is_a_sentence_and_leaves_nothing(
    ada: Collector, gate: InstrumentVersion, settings, tmp_path: Path, nothing_stored
):
    (tmp_path / "file").write_bytes(b"")
    settings.MEDIA_STORE_URL = f"folder://{tmp_path / 'file'}/media"
    xml = xml_part(gate_xml(gate, front="front.jpg"))
    assert "稍后重试" in message(ada.send(xml, FRONT_PART, status=503))
    nothing_stored()


def test_the_whole_body_is_taken_before_a_refusal(ada: Collector, gate: InstrumentVersion):
    large: Part = ("side.jpg", "image/jpeg", bytes(300_000))
    body = multipart([xml_part(b"<broken"), large])
    request_input = CountingInput(body)
    response = ada.client.post(
        f"{ada.root}/submission",
        content_type="multipart/form-data; boundary=b0und4ry",
        CONTENT_LENGTH=str(len(body)),
        **{"wsgi.input": request_input},
    )
    assert response.status_code == 400
    assert request_input.taken == len(body)
    assert request_input.largest <= 64 * 1024


def test_a_connection_that_fails_is_a_refusal_that_leaves_nothing(
    ada: Collector, gate: InstrumentVersion, nothing_stored
):
    class Failing(CountingInput):
        def read(self, size: int = -1) -> bytes:
            if self.taken:
                raise OSError("reset by peer")
            return super().read(size)

    body = multipart([xml_part(gate_xml(gate, front="front.jpg")), FRONT_PART])
    response = ada.client.post(
        f"{ada.root}/submission",
        content_type="multipart/form-data; boundary=b0und4ry",
        CONTENT_LENGTH=str(len(body) + 10),
        **{"wsgi.input": Failing(body)},
    )
    assert response.status_code == 400
    nothing_stored()


class CountingInput:
    """A socket's side of a request: how much was asked for, and how much at once."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.taken = self.largest = 0

    def read(self, size: int = -1) -> bytes:
        assert size >= 0
        piece = self.content[self.taken : self.taken + size]
        self.taken += len(piece)
        self.largest = max(self.largest, len(piece))
        return piece

    def readline(self) -> bytes:
        raise AssertionError("a line may be as long as the body")

    def close(self) -> None:
        pass


def test_while_the_database_is_away_a_phone_is_told_to_come_again(
    ada: Collector, gate: InstrumentVersion, monkeypatch
):
    def away(**_arguments: object) -> None:
        raise OperationalError("the database system is starting up")

    monkeypatch.setattr("mobile_api.openrosa.views.accept_submission", away)
    response = ada.send(xml_part(gate_xml(gate)), status=503)
    assert response["Retry-After"] == "5"
    assert message(response)
