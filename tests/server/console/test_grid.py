"""Schools, people, roles, appointments: forms, Excel, and what stays out of reach."""

from __future__ import annotations

from io import BytesIO

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from openpyxl import load_workbook

from server.core.changes import Change
from server.grid.coordinates import distance_m, wgs84_to_gcj02
from server.grid.models import Appointment, Membership, School, User
from server.messaging.models import Device
from tests.cast import Cast, add_person


def upload(client, content: bytes, model: str = "school"):
    file = SimpleUploadedFile("import.xlsx", content)
    return client.post(f"/admin/grid/{model}/import/", {"file": file}, follow=True)


def school_form(school: School, **changes: object) -> dict[str, object]:
    return {
        "name": school.name,
        "code": school.code,
        "stage": school.stage,
        "area": str(school.area_id),
        "latitude": school.latitude,
        "longitude": school.longitude,
        "enrolment": school.enrolment,
        "is_active": "on",
        **changes,
    }


# ---- schools ---------------------------------------------------------------------------------


def test_a_changed_school_is_told_to_phones(office, cast: Cast):
    address = f"/admin/grid/school/{cast.school.pk}/edit/"
    office.post(address, school_form(cast.school, enrolment=301))
    assert School.objects.get(pk=cast.school.pk).enrolment == 301
    assert Change.objects.filter(type="school", object_id=cast.school.pk).exists()


def test_a_wrong_code_is_shown_at_its_field(office, cast: Cast):
    answer = office.post("/admin/grid/school/add/", school_form(cast.school, code="12"))
    assert "学校标识码应为 10 位数字" in str(answer.context["form"].errors["code"])


def test_a_position_from_a_chinese_map_is_stored_in_wgs84(office, cast: Cast):
    true = (39.911954, 116.377817)
    shown = wgs84_to_gcj02(true)
    entered = school_form(cast.school, latitude=shown[0], longitude=shown[1], system="gcj02")
    office.post(f"/admin/grid/school/{cast.school.pk}/edit/", entered)
    stored = School.objects.get(pk=cast.school.pk)
    assert distance_m((stored.latitude, stored.longitude), true) < 0.05


def test_a_stored_position_is_not_shifted_once_more(office, cast: Cast):
    again = school_form(cast.school, system="bd09")
    answer = office.post(f"/admin/grid/school/{cast.school.pk}/edit/", again)
    assert "经纬度没有改动" in answer.content.decode()
    assert School.objects.get(pk=cast.school.pk).latitude == cast.school.latitude


def test_an_import_offers_the_map_for_rows_that_name_none(office, cast: Cast):
    book = load_workbook(BytesIO(office.get("/admin/grid/school/export/").content))
    sheet = book.worksheets[0]
    headings = {cell.value: cell.column for cell in sheet[1]}
    shown = wgs84_to_gcj02((33.5, 108.5))
    for row in range(2, sheet.max_row + 1):
        sheet.cell(row, headings["坐标系"]).value = None
        if sheet.cell(row, headings["学校标识码"]).value == cast.school.code:
            sheet.cell(row, headings["纬度"]).value = shown[0]
            sheet.cell(row, headings["经度"]).value = shown[1]
        else:
            sheet.cell(row, headings["纬度"]).value = None
            sheet.cell(row, headings["经度"]).value = None
    buffer = BytesIO()
    book.save(buffer)
    file = SimpleUploadedFile("schools.xlsx", buffer.getvalue())
    office.post("/admin/grid/school/import/", {"file": file, "system": "gcj02"})
    stored = School.objects.get(pk=cast.school.pk)
    assert distance_m((stored.latitude, stored.longitude), (33.5, 108.5)) < 0.05
    other = School.objects.get(pk=cast.other_school.pk)
    assert other.latitude == cast.other_school.latitude


def test_a_town_group_moves_no_school_out_of_its_town(group, cast: Cast):
    moved = school_form(cast.school, area=str(cast.far_town.pk))
    answer = group.post(f"/admin/grid/school/{cast.school.pk}/edit/", moved)
    assert "area" in answer.context["form"].errors


def test_an_export_is_what_an_import_takes(office, cast: Cast):
    exported = office.get("/admin/grid/school/export/")
    answer = upload(office, exported.content)
    assert "3 条没有变化" in answer.content.decode()


def test_an_export_holds_what_is_shown(office, group, cast: Cast):
    def names(content: bytes) -> str:
        rows = load_workbook(BytesIO(content)).worksheets[0].iter_rows(values_only=True)
        return str(list(rows))

    shown = names(office.get("/admin/grid/school/export/?stage__exact=junior").content)
    assert cast.far_school.name in shown
    assert cast.school.name not in shown
    assert cast.far_school.name not in names(group.get("/admin/grid/school/export/").content)


def test_an_import_shows_every_wrong_cell_and_stores_nothing(office, cast: Cast):
    book = load_workbook(BytesIO(office.get("/admin/grid/school/export/").content))
    sheet = book.worksheets[0]
    codes = next(
        cell.column for row in sheet.iter_rows() for cell in row if cell.value == "学校标识码"
    )
    row = next(c.row for c in sheet[sheet.cell(1, codes).column_letter] if c.value == "9101210001")
    sheet.cell(row, codes).value = "12"
    buffer = BytesIO()
    book.save(buffer)
    answer = upload(office, buffer.getvalue())
    cells = answer.context["cells"]
    assert [(cell.row, cell.column) for cell in cells] == [(str(row), "学校标识码")]
    assert "没有任何内容被保存" in answer.content.decode()


@pytest.mark.parametrize("content", [b"not a workbook", b"PK\x03\x04broken"])
def test_what_is_no_workbook_is_refused_with_a_sentence(content, office):
    answer = upload(office, content)
    assert answer.status_code == 200
    assert answer.context["form"].errors


def test_a_workbook_over_the_limit_is_not_read(office, monkeypatch):
    monkeypatch.setattr("server.console.admin.workbooks.MAX_WORKBOOK_BYTES", 10)
    assert "文件不能超过" in upload(office, b"0" * 11).content.decode()


def test_templates_are_downloads(office):
    for model in ("school", "user"):
        answer = office.get(f"/admin/grid/{model}/template/")
        assert load_workbook(BytesIO(answer.content)).worksheets


# ---- people ----------------------------------------------------------------------------------


def person_form(**changes: object) -> dict[str, object]:
    return {
        "username": "newcomer",
        "name": "新督学",
        "is_active": "on",
        "role": "inspector",
        "starts": "2026-09-01",
        **changes,
    }


def test_a_new_person_comes_with_a_role(office, cast: Cast):
    office.post("/admin/grid/user/add/", person_form(area=str(cast.county.pk)))
    user = User.objects.get(username="newcomer")
    assert user.memberships.get().role == "inspector"
    assert not user.has_usable_password()


def test_a_person_whose_role_is_refused_is_not_kept(group, cast: Cast):
    plan = person_form(role="office", area=str(cast.town.pk))
    answer = group.post("/admin/grid/user/add/", plan)
    assert answer.context["form"].errors
    assert not User.objects.filter(username="newcomer").exists()


def test_a_new_password_is_shown_once(office, cast: Cast):
    address = f"/admin/grid/user/{cast.principal.pk}/do/password/"
    page = office.post(address, follow=True).content.decode()
    password = page.partition("的新密码：")[2].partition("　")[0]
    cast.principal.refresh_from_db()
    assert cast.principal.check_password(password)
    assert (
        password not in office.get(f"/admin/grid/user/{cast.principal.pk}/change/").content.decode()
    )


def test_the_settings_code_of_odk_collect_is_drawn_for_a_person(office, group, cast: Cast):
    address = f"/admin/grid/user/{cast.ada.pk}/do/odk/"
    page = office.post(address, follow=True).content.decode()
    assert "<svg" in page
    assert Device.objects.get(user=cast.ada).name == "ODK Collect"
    group.post(f"/admin/grid/user/{cast.office.pk}/do/odk/")
    assert not Device.objects.filter(user=cast.office).exists()


def test_a_town_group_takes_no_log_in_of_its_superiors(group, cast: Cast):
    before = cast.office.password
    assert group.post(f"/admin/grid/user/{cast.office.pk}/do/password/").status_code in (302, 404)
    cast.office.refresh_from_db()
    assert cast.office.password == before


def test_editing_a_person(office, cast: Cast):
    office.post(
        f"/admin/grid/user/{cast.principal.pk}/edit/",
        {"name": "白校长", "phone": "13000000000", "is_active": "on"},
    )
    cast.principal.refresh_from_db()
    assert cast.principal.phone == "13000000000"
    assert Change.objects.filter(type="me", object_id=cast.principal.pk).exists()


# ---- roles and appointments ------------------------------------------------------------------


def test_appointing_and_ending(office, cast: Cast):
    office.post(
        "/admin/grid/appointment/add/",
        {
            "school": str(cast.school.pk),
            "inspector": str(cast.bruno.pk),
            "starts": "2026-09-01",
            "ends": "2027-08-31",
        },
    )
    row = Appointment.objects.get(school=cast.school, inspector=cast.bruno)
    office.post(f"/admin/grid/appointment/{row.pk}/do/end/", {"day": "2026-12-31"})
    row.refresh_from_db()
    assert str(row.ends) == "2026-12-31"


def test_appointing_twice_is_refused_at_the_form(office, cast: Cast):
    answer = office.post(
        "/admin/grid/appointment/add/",
        {
            "school": str(cast.school.pk),
            "inspector": str(cast.ada.pk),
            "starts": "2026-09-01",
            "ends": "2027-08-31",
        },
    )
    assert "该督学在此期间已负责这所学校" in str(answer.context["form"].errors)


def test_granting_and_ending_a_role(office, cast: Cast):
    newcomer = add_person("second", "副校长", "school_contact", school=cast.other_school)
    office.post(
        "/admin/grid/membership/add/",
        {
            "user": str(newcomer.pk),
            "role": "school_contact",
            "school": str(cast.school.pk),
            "starts": "2026-09-01",
        },
    )
    row = Membership.objects.get(user=newcomer, school=cast.school)
    office.post(f"/admin/grid/membership/{row.pk}/do/end/", {"day": "2026-12-31"})
    row.refresh_from_db()
    assert str(row.ends) == "2026-12-31"


def test_a_town_group_does_not_end_the_offices_role(group, cast: Cast):
    row = cast.office.memberships.get()
    group.post(f"/admin/grid/membership/{row.pk}/do/end/", {"day": "2026-12-31"})
    row.refresh_from_db()
    assert row.ends is None
