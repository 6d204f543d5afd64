"""Uploading an XLSForm, its mistakes by row and column, publishing."""

from __future__ import annotations

from io import BytesIO

from django.core.files.uploadedfile import SimpleUploadedFile
from openpyxl import load_workbook

from server.instruments.models import Instrument
from tests.forms import KITCHEN_SURVEY, YES_NO, kitchen_xlsform, xlsform


def upload(client, content: bytes):
    file = SimpleUploadedFile("form.xlsx", content)
    return client.post("/admin/instruments/instrument/add/", {"file": file}, follow=True)


def test_an_upload_is_a_draft_until_published(office, cast):
    page = upload(office, kitchen_xlsform()).content.decode()
    instrument = Instrument.objects.get()
    assert instrument.current is None
    assert "食品经营许可证是否公示" in page
    assert "7 天内整改" in page
    office.post(f"/admin/instruments/instrument/{instrument.pk}/do/publish/")
    instrument.refresh_from_db()
    assert instrument.current is not None


def test_mistakes_are_listed_by_sheet_row_and_column(office, cast):
    broken = [dict(row) for row in KITCHEN_SURVEY]
    broken[1]["finding_severity"] = "terrible"
    answer = upload(office, xlsform(broken, YES_NO, {"form_id": "kitchen", "form_title": "食堂"}))
    cells = answer.context["cells"]
    assert [(cell.sheet, cell.row) for cell in cells] == [("survey", "3")]
    assert not Instrument.objects.exists()


def test_what_is_no_workbook_is_refused(office, cast):
    answer = upload(office, b"hello")
    assert "这不是 Excel" in str(answer.context["form"].errors)


def test_both_forms_can_be_downloaded(office, kitchen):
    base = f"/admin/instruments/instrument/versions/{kitchen.pk}"
    assert load_workbook(BytesIO(office.get(f"{base}/form.xlsx").content)).worksheets
    assert b"<h:html" in office.get(f"{base}/form.xml").content


def test_the_office_sets_that_faces_are_blurred_and_takes_it_back(office, kitchen):
    page = f"/admin/instruments/instrument/{kitchen.instrument_id}"
    answer = office.post(f"{page}/do/blur/", follow=True)
    assert "以后的共享图将遮挡人脸" in answer.content.decode()
    assert Instrument.objects.get().blur_faces
    office.post(f"{page}/do/blur/")
    assert not Instrument.objects.get().blur_faces
