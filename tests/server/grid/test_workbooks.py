"""Excel in and out: every fault by row and column, nothing half-stored, round trips exact."""

import io
import zipfile
from datetime import UTC, date, datetime, timedelta

import openpyxl
import pytest

from server.core.changes import Change
from server.core.clock import today
from server.core.errors import Conflict, Invalid, Malformed, TooLarge
from server.grid import demo, queries, workbooks
from server.grid.coordinates import (
    CoordinateSystem,
    distance_m,
    gcj02_to_bd09,
    wgs84_to_gcj02,
)
from server.grid.models import Appointment, Area, Membership, School, User
from server.grid.services import schools_moved
from server.grid.workbooks import cells, sheets
from tests.cast import add_area, add_person, add_school

SCHOOL_HEAD = ["学校名称", "学校标识码", "学段", "所在镇街", "地址", "经度", "纬度", "在校生数"]
PEOPLE_HEAD = ["姓名", "登录名", "角色", "单位", "负责学校", "任期开始", "任期结束"]


def workbook(*rows, title="学校"):
    book = openpyxl.Workbook()
    book.active.title = title
    for row in rows:
        book.active.append(row)
    return saved(book)


def saved(book):
    stream = io.BytesIO()
    book.save(stream)
    stream.seek(0)
    return stream


def school(**changes):
    row = {
        "name": "新建小学", "code": "9101210099", "stage": "小学", "area": "东河镇",
        "address": "学府路 1 号", "longitude": 96.1, "latitude": 36.1, "enrolment": 200,
    }  # fmt: skip
    return list({**row, **changes}.values())


def import_schools(by, *rows, head=SCHOOL_HEAD):
    return workbooks.import_schools(file=workbook(head, *rows), by=by)


def import_people(by, *rows, head=PEOPLE_HEAD):
    return workbooks.import_people(file=workbook(head, *rows, title="人员"), by=by)


def faults(do, *args, **kwargs):
    """(pointer, code) of every problem; and nothing was stored."""
    models = (School, User, Membership, Appointment, Change)
    before = [model.objects.count() for model in models]
    with pytest.raises(Invalid) as refusal:
        do(*args, **kwargs)
    assert [model.objects.count() for model in models] == before
    assert all(str(problem.detail) for problem in refusal.value.problems)
    return [(problem.pointer, problem.code) for problem in refusal.value.problems]


def counts(result):
    return result.created, result.updated, result.unchanged


# ---- schools


def test_schools_are_created_updated_and_left_alone(cast):
    same = [cast.school.name, cast.school.code, "小学", "东河镇", "", 108, 33, 300]
    other = [cast.other_school.name, cast.other_school.code, "小学", "东河镇", "", 108, 33.01, 301]
    result = import_schools(cast.office, school(), same, other)
    assert counts(result) == (1, 1, 1)
    new = School.objects.get(code="9101210099")
    assert (new.stage, new.area, new.address) == ("primary", cast.town, "学府路 1 号")
    assert (new.longitude, new.latitude, new.enrolment) == (96.1, 36.1, 200)
    told = set(Change.objects.values_list("type", "object_id", "school_id"))
    changed = {new.pk, cast.other_school.pk}
    assert told == {("school", pk, pk) for pk in changed}


def test_the_same_file_again_changes_nothing(cast):
    import_schools(cast.office, school())
    Change.objects.all().delete()
    assert counts(import_schools(cast.office, school())) == (0, 0, 1)
    assert not Change.objects.exists()


def test_every_fault_is_named_by_sheet_row_and_column(cast):
    found = faults(
        import_schools,
        cast.office,
        school(),
        school(code="123"),
        school(name="  ", code="9101210100", stage="大学", area="火星镇"),
        [],
        school(code="9101210101", longitude="不详", enrolment="-3"),
        school(code="9101210102", longitude=36.1, latitude=96.1),
        school(code="9101210103", latitude=None),
        school(),
    )
    assert set(found) == {
        ("/学校/3/学校标识码", "wrong_code"),
        ("/学校/4/学校名称", "required"),
        ("/学校/4/学段", "unknown_choice"),
        ("/学校/4/所在镇街", "unknown_place"),
        ("/学校/6/经度", "not_a_number"),
        ("/学校/6/在校生数", "not_a_count"),
        ("/学校/7/纬度", "out_of_range"),
        ("/学校/8/纬度", "half_position"),
        ("/学校/9/学校标识码", "duplicate"),
    }
    assert len(found) == 9


def test_headings_are_found_under_a_title_in_any_order_and_under_other_names(cast):
    file = workbook(
        ["云岭县学校名册（2026 年）"],
        [None],
        ["序号", "镇街", "学生数", "学段/学校类别", " 学 校 代 码 *", "学校全称（必填）", "备注"],
        [1, " 东河镇 ", "１，２０３人", "初级中学", 9101210099, "东河镇　新中学", "多余"],
        ["", "", "", "", "", "", ""],
        [2, "910121101", 80.0, "幼儿园", "９１０１２１００９８", "东河镇（北）幼儿园", None],
    )
    assert counts(workbooks.import_schools(file=file, by=cast.office)) == (2, 0, 0)
    junior, garden = School.objects.filter(code__in=["9101210099", "9101210098"]).order_by("-code")
    assert (junior.name, junior.stage, junior.enrolment) == ("东河镇 新中学", "junior", 1203)
    assert (garden.name, garden.stage, garden.enrolment) == (
        "东河镇（北）幼儿园",
        "kindergarten",
        80,
    )


def test_a_fault_is_named_as_the_file_names_its_column(cast):
    head = ["学校名称", "学校标识码", "学段/学校类别", "所在镇街"]
    row = ["校", "9101210099", "大学", "东河镇"]
    assert faults(import_schools, cast.office, row, head=head) == [
        ("/学校/2/学段~1学校类别", "unknown_choice")
    ]


def test_blank_cells_leave_what_is_stored(cast):
    row = [cast.school.name, cast.school.code, "小学", "东河镇", None, None, " ", None]
    assert counts(import_schools(cast.office, row)) == (0, 0, 1)
    cast.school.refresh_from_db()
    assert (cast.school.latitude, cast.school.enrolment) == (33.0, 300)


# ---- coordinates

BEIJING = (39.911954, 116.377817)
SYSTEM_HEAD = [*SCHOOL_HEAD, "坐标系"]


def on_map(point, system, **changes):
    """A row as somebody reads it from a map, with what they call the map."""
    return [*school(latitude=point[0], longitude=point[1], **changes), system]


@pytest.mark.parametrize(
    ("word", "shift"),
    [
        ("GCJ-02（高德、腾讯）", wgs84_to_gcj02),
        ("gcj02", wgs84_to_gcj02),
        ("高德地图", wgs84_to_gcj02),
        ("腾讯", wgs84_to_gcj02),
        ("BD-09（百度）", lambda point: gcj02_to_bd09(wgs84_to_gcj02(point))),
        ("百度", lambda point: gcj02_to_bd09(wgs84_to_gcj02(point))),
        ("WGS-84", lambda point: point),
        ("天地图", lambda point: point),
        ("", lambda point: point),
    ],
)
def test_positions_of_chinese_maps_are_stored_in_wgs84(cast, word, shift):
    import_schools(cast.office, on_map(shift(BEIJING), word), head=SYSTEM_HEAD)
    stored = School.objects.get(code="9101210099")
    assert distance_m((stored.latitude, stored.longitude), BEIJING) < 0.05


def test_the_import_s_choice_holds_for_rows_that_name_no_map(cast):
    rows = [
        on_map(wgs84_to_gcj02(BEIJING), ""),
        on_map(BEIJING, "WGS-84", code="9101210098", name="另一小学"),
    ]
    file = workbook(SYSTEM_HEAD, *rows)
    workbooks.import_schools(file=file, by=cast.office, system=CoordinateSystem.GCJ02)
    for stored in School.objects.filter(code__in=["9101210099", "9101210098"]):
        assert distance_m((stored.latitude, stored.longitude), BEIJING) < 0.05


def test_a_map_s_file_again_changes_nothing(cast):
    row = on_map(wgs84_to_gcj02(BEIJING), "高德")
    assert counts(import_schools(cast.office, row, head=SYSTEM_HEAD)) == (1, 0, 0)
    assert counts(import_schools(cast.office, row, head=SYSTEM_HEAD)) == (0, 0, 1)


def test_half_a_position_of_a_map_cannot_be_converted(cast):
    half = on_map((33.1, None), "百度", code=cast.school.code)
    assert faults(import_schools, cast.office, half, head=SYSTEM_HEAD) == [
        ("/学校/2/经度", "half_position")
    ]


def test_a_map_that_nobody_knows_is_refused(cast):
    unknown = on_map(BEIJING, "谷歌")
    assert faults(import_schools, cast.office, unknown, head=SYSTEM_HEAD) == [
        ("/学校/2/坐标系", "unknown_choice")
    ]


def test_who_moves_is_told_once_for_all_schools_of_the_file(cast):
    told = []

    def hear(*, school_ids, **_signal):
        told.append(set(school_ids))

    schools_moved.connect(hear)
    try:
        rows = [
            [row.name, row.code, "小学", "东河镇", "", 108.5, 33.5, 300]
            for row in (cast.school, cast.other_school)
        ]
        import_schools(cast.office, *rows, school())
        import_schools(cast.office, *rows)
    finally:
        schools_moved.disconnect(hear)
    assert told == [{cast.school.pk, cast.other_school.pk}]


def test_a_town_group_imports_its_own_town_only(cast):
    assert counts(import_schools(cast.town_group, school())) == (1, 0, 0)
    assert faults(
        import_schools,
        cast.town_group,
        school(code="9101210098", area="西山镇"),
        school(code=cast.far_school.code),
    ) == [("/学校/2/所在镇街", "unknown_place"), ("/学校/3/学校标识码", "not_yours")]


@pytest.mark.parametrize("person", ["ada", "principal", "carla", "expert"])
def test_who_holds_no_office_imports_nothing(cast, person):
    by = getattr(cast, person)
    assert faults(import_schools, by, school()) == [("/学校/2/所在镇街", "unknown_place")]
    row = ["新人", "new", "督导专家", "云岭县", None, None, None]
    assert faults(import_people, by, row) == [("/人员/2/单位", "unknown_place")]


def test_towns_of_the_same_name_are_told_apart_by_code(cast):
    city = cast.county.parent
    county = add_area("邻县", "910122", Area.Level.COUNTY, city)
    town = add_area("东河镇", "910122101", Area.Level.TOWN, county)
    by = add_person("city", "市主任", Membership.Role.OFFICE, area=city)
    assert faults(import_schools, by, school()) == [("/学校/2/所在镇街", "ambiguous")]
    import_schools(by, school(area=town.code))
    assert School.objects.get(code="9101210099").area == town
    exported = io.BytesIO(workbooks.export_schools(School.objects.all()))
    assert counts(workbooks.import_schools(file=exported, by=by)) == (0, 0, 4)


def test_a_school_that_moves_leaves_its_old_towns_phones(cast):
    row = [cast.school.name, cast.school.code, "小学", "西山镇", "", "", "", ""]
    assert counts(import_schools(cast.office, row)) == (0, 1, 0)
    assert Change.objects.filter(object_id=cast.school.pk, user_id=cast.town_group.pk).exists()


def test_two_imports_at_once_end_in_a_conflict_not_in_halves(cast, monkeypatch):
    monkeypatch.setattr("server.grid.workbooks.schools._stored", lambda table: {})
    same = [cast.school.name, cast.school.code, "小学", "东河镇", "", "", "", ""]
    with pytest.raises(Conflict):
        import_schools(cast.office, school(), same)
    assert School.objects.count() == 3


# ---- people


def ada_row(cast, *, schools=None, **changes):
    row = {
        "name": "安督学", "username": "ada", "role": "责任督学", "place": "云岭县",
        "schools": schools, "starts": None, "ends": None,
    }  # fmt: skip
    return list({**row, **changes}.values())


def test_people_of_every_role_are_created_without_a_password(cast):
    head = [*PEOPLE_HEAD, "手机号", "督学证号"]
    result = import_people(
        cast.office,
        ["新督学", "new1", "督学", "", "东河镇中心小学、9101210003", "2026年9月1日", "", "139 0000-0000", "X１"],
        ["新校长", "new2", "园长", "东河镇第二小学", "", "", "", 12000000001, None],
        ["新组长", "new3", "镇街督导组", "西山镇", "", "", "", "", ""],
        ["新主任", "new4", "教育督导办", "910121", "", "", "", "", ""],
        ["新专家", "new5", "专家", None, "", "", "", "", ""],
        head=head,
    )  # fmt: skip
    assert counts(result) == (5, 0, 0)
    assert [user.username for user in result.new_people] == [f"new{n}" for n in range(1, 6)]
    people = User.objects.in_bulk([f"new{n}" for n in range(1, 6)], field_name="username")
    assert not any(user.has_usable_password() for user in people.values())
    assert [user.is_staff for user in people.values()] == [False, False, True, True, False]
    inspector, term = people["new1"], people["new1"].memberships.get()
    assert (inspector.phone, inspector.licence) == ("13900000000", "X１")
    assert (term.area, term.starts, term.ends) == (
        cast.county, date(2026, 9, 1), date(2029, 8, 31),
    )  # fmt: skip
    rows = inspector.appointments.values_list("school__code", "starts", "ends")
    assert set(rows) == {
        ("9101210001", term.starts, term.ends),
        ("9101210003", term.starts, term.ends),
    }
    assert people["new2"].phone == "12000000001"
    assert list(queries.schools_visible_to(people["new2"])) == [cast.other_school]
    assert set(queries.schools_visible_to(people["new3"])) == {cast.far_school}


def test_the_phones_of_those_concerned_are_told(cast):
    import_people(cast.office, ada_row(cast, schools="西山镇初级中学"))
    told = set(Change.objects.values_list("type", "object_id", "user_id"))
    assert told == {
        ("school", cast.school.pk, cast.ada.pk),
        ("school", cast.far_school.pk, cast.ada.pk),
    }


def test_the_schools_of_the_file_become_the_inspectors_schools(cast):
    assert counts(import_people(cast.office, ada_row(cast, schools="东河镇第二小学;西山镇初级中学"))) == (0, 1, 0)  # fmt: skip
    assert set(queries.schools_visible_to(cast.ada)) == {cast.other_school, cast.far_school}
    ended = cast.ada.appointments.get(school=cast.school)
    assert ended.ends == today() - timedelta(days=1)
    # Back on the same day: what was appointed today never held and goes without a trace.
    assert counts(import_people(cast.office, ada_row(cast, schools="东河镇中心小学"))) == (0, 1, 0)
    assert set(queries.schools_visible_to(cast.ada)) == {cast.school}
    assert cast.ada.appointments.count() == 2


def test_a_blank_list_of_schools_leaves_the_appointments(cast):
    assert counts(import_people(cast.office, ada_row(cast))) == (0, 0, 1)
    assert list(queries.schools_visible_to(cast.ada)) == [cast.school]


def test_people_faults_are_named_by_row_and_column(cast):
    found = faults(
        import_people,
        cast.office,
        ["张", "new1", "责任督学", "", "没有的学校、东河镇中心小学", "2026-09-01", "2029-09-01"],
        ["李", "x", "责任督学", "", "", "2026-13-01", ""],
        ["王", "new3", "学校联系人", "", "", "", ""],
        ["赵", "new4", "学校联系人", "没有的学校", "", "", ""],
        ["钱", "new5", "督导专家", "云岭县", "东河镇中心小学", "2026-09-01", "2026-08-31"],
        ["孙", "new6", "厨师", "云岭县", "", "", ""],
        ["", "new7", "督导专家", "云岭县", "", "", ""],
        ["周", "new8", "督导专家", "云岭县", "", "", ""],
        ["吴", "new8", "督导专家", "东河镇", "", "", ""],
        ["周", "new8", "督导专家", "云岭县", "", "", ""],
    )
    assert set(found) == {
        ("/人员/2/负责学校", "unknown_place"),
        ("/人员/2/任期结束", "term_too_long"),
        ("/人员/3/登录名", "wrong_username"),
        ("/人员/3/任期开始", "not_a_date"),
        ("/人员/4/单位", "required"),
        ("/人员/5/单位", "unknown_place"),
        ("/人员/6/负责学校", "not_an_inspector"),
        ("/人员/6/任期结束", "term_order"),
        ("/人员/7/角色", "unknown_choice"),
        ("/人员/8/姓名", "required"),
        ("/人员/10/姓名", "contradiction"),
        ("/人员/11/登录名", "duplicate"),
    }
    assert len(found) == 12


def test_a_fourth_term_in_a_row_is_refused_by_article_6(cast):
    for year in (2017, 2020, 2023):
        Membership.objects.create(
            user=cast.expert, role="inspector", area=cast.county,
            starts=date(year, 9, 1), ends=date(year + 3, 8, 31),
        )  # fmt: skip
    row = ["葛专家", "expert", "责任督学", "云岭县", "", "2026-09-01", ""]
    assert faults(import_people, cast.office, row) == [("/人员/2/任期开始", "terms_in_a_row")]


def test_more_schools_than_usual_warn_and_more_than_allowed_refuse(cast, settings):
    names = [f"校{n}" for n in range(21)]
    for n, name in enumerate(names):
        add_school(name, f"91012101{n:02}", cast.town)
    result = import_people(cast.office, ada_row(cast, schools="、".join(names[:6])))
    assert [(w.pointer, w.code) for w in result.warnings] == [("/人员/2/负责学校", "many_schools")]
    row = ada_row(cast, schools="、".join(names))
    assert faults(import_people, cast.office, row) == [("/人员/2/负责学校", "too_many_schools")]


def test_schools_kept_elsewhere_count_towards_the_limit(cast, settings):
    settings.INSPECTOR_MAX_SCHOOLS = 1
    cast.ada.memberships.update(area=cast.far_town)
    row = ada_row(cast, place="西山镇", schools="西山镇初级中学")
    assert faults(import_people, cast.office, row) == [("/人员/2/负责学校", "too_many_schools")]


def test_a_school_outside_the_inspectors_area_is_refused(cast):
    row = ["新", "new1", "责任督学", "西山镇", "东河镇中心小学", "", ""]
    assert faults(import_people, cast.office, row) == [("/人员/2/负责学校", "beyond_area")]


def test_nobody_is_changed_from_outside_their_office(cast):
    root = add_person("root", "管理员", is_superuser=True)
    rows = [
        ["管理员", root.username, "督导专家", "东河镇", "", "", ""],
        ["改名", "carla", "督导专家", "东河镇", "", "", ""],
        ["方主任", "office", "督导专家", "东河镇", "", "", ""],
    ]
    assert faults(import_people, cast.town_group, *rows) == [
        (f"/人员/{n}/登录名", "not_yours") for n in (2, 3, 4)
    ]
    assert faults(import_people, cast.office, rows[0]) == [("/人员/2/登录名", "not_yours")]


def test_a_town_group_makes_no_offices(cast):
    row = ["新", "new1", "教育督导办", "东河镇", "", "", ""]
    assert faults(import_people, cast.town_group, row) == [("/人员/2/角色", "not_allowed")]
    row = ["新", "new1", "督导专家", "", "", "", ""]
    import_people(cast.town_group, row)
    assert Membership.objects.get(user__username="new1").area == cast.town


def test_fields_of_a_person_are_updated_and_their_phone_told(cast):
    head = ["姓名", "登录名", "角色", "手机号", "可登录"]
    result = import_people(cast.office, ["安新名", "ada", "责任督学", "", "否"], head=head)
    cast.ada.refresh_from_db()
    assert counts(result) == (0, 1, 0)
    assert (cast.ada.name, cast.ada.phone, cast.ada.is_active) == ("安新名", "12000000000", False)
    assert cast.ada.check_password(cast.password)
    assert Change.objects.filter(type="me", user_id=cast.ada.pk).count() == 1


def test_an_office_does_not_lock_itself_out(cast):
    head = ["姓名", "登录名", "角色", "可登录"]
    row = ["方主任", "office", "教育督导办", "否"]
    assert faults(import_people, cast.office, row, head=head) == [("/人员/2/可登录", "oneself")]


def test_a_corrected_term_takes_its_appointments_along(cast):
    end = date(2027, 8, 31)
    row = ada_row(cast, starts=date(2024, 9, 1), ends=end)
    assert counts(import_people(cast.office, row)) == (0, 1, 0)
    assert cast.ada.memberships.get().ends == end
    assert cast.ada.appointments.get().ends == end
    assert counts(import_people(cast.office, row)) == (0, 0, 1)


def test_a_term_that_follows_is_a_new_one(cast):
    cast.ada.memberships.update(ends=today())
    cast.ada.appointments.update(ends=today())
    row = ada_row(cast, schools="东河镇中心小学", starts=today() + timedelta(days=1))
    assert counts(import_people(cast.office, row)) == (1, 0, 0)
    assert cast.ada.memberships.count() == 2
    assert counts(import_people(cast.office, row)) == (0, 0, 1)


def test_an_old_file_does_not_revive_a_term_that_is_over(cast):
    row = ada_row(cast, schools="东河镇中心小学", starts=date(2024, 9, 1))
    yesterday = today() - timedelta(days=1)
    cast.ada.memberships.update(ends=yesterday)
    cast.ada.appointments.update(ends=yesterday)
    assert counts(import_people(cast.office, row)) == (0, 0, 1)
    assert not queries.schools_visible_to(cast.ada).exists()


# ---- round trips


def read(content):
    book = openpyxl.load_workbook(io.BytesIO(content))
    return [[cell.value for cell in row] for row in book.worksheets[0].iter_rows()]


@pytest.fixture
def county(db, fast_passwords):
    return demo.load_county()


def test_exports_come_back_without_a_change(county):
    Change.objects.all().delete()
    schools = workbooks.export_schools(School.objects.all())
    people = workbooks.export_people(User.objects.all())
    by = county.office
    assert counts(workbooks.import_schools(file=io.BytesIO(schools), by=by)) == (0, 0, 67)
    result = workbooks.import_people(file=io.BytesIO(people), by=by)
    assert counts(result) == (0, 0, User.objects.count())
    assert not Change.objects.exists()


def test_an_export_rebuilds_the_grid_in_an_empty_county(county):
    schools = workbooks.export_schools(School.objects.all())
    people = workbooks.export_people(User.objects.all())
    sights = {u.username: codes_seen(u) for u in county.inspectors + county.contacts}
    Appointment.objects.all().delete()
    Membership.objects.exclude(user=county.office).delete()
    User.objects.exclude(pk=county.office.pk).delete()
    School.objects.all().delete()
    workbooks.import_schools(file=io.BytesIO(schools), by=county.office)
    result = workbooks.import_people(file=io.BytesIO(people), by=county.office)
    assert len(result.new_people) == User.objects.count() - 1
    assert read(workbooks.export_schools(School.objects.all())) == read(schools)
    assert read(workbooks.export_people(User.objects.all())) == read(people)
    # Who sees which school is the same as before.
    assert {u.username: codes_seen(u) for u in User.objects.filter(username__in=sights)} == sights


def codes_seen(user):
    return sorted(queries.schools_visible_to(user).values_list("code", flat=True))


def test_an_export_costs_the_same_however_many_rows_there_are(
    county, django_assert_max_num_queries
):
    with django_assert_max_num_queries(2):
        workbooks.export_schools(School.objects.all())
    with django_assert_max_num_queries(8):
        workbooks.export_people(User.objects.all())


def test_an_import_without_changes_costs_the_same_however_many_rows_there_are(
    county, django_assert_max_num_queries
):
    people = io.BytesIO(workbooks.export_people(User.objects.all()))
    with django_assert_max_num_queries(16):
        workbooks.import_people(file=people, by=county.office)


def test_a_name_that_looks_like_a_formula_stays_text(cast):
    name = '=HYPERLINK("http://a.example","校")'
    School.objects.filter(pk=cast.school.pk).update(name=name)
    content = workbooks.export_schools(School.objects.filter(pk=cast.school.pk))
    cell = openpyxl.load_workbook(io.BytesIO(content)).worksheets[0]["A2"]
    assert (cell.value, cell.data_type) == (name, "s")
    result = workbooks.import_schools(file=io.BytesIO(content), by=cast.office)
    assert counts(result) == (0, 0, 1)


# ---- templates


@pytest.mark.parametrize("kind", ["schools", "people"])
def test_a_template_as_it_is_has_nothing_to_import(cast, kind):
    template = getattr(workbooks, f"{kind}_template")(by=cast.office)
    importing = getattr(workbooks, f"import_{kind}")
    title = "学校" if kind == "schools" else "人员"
    assert faults(importing, file=io.BytesIO(template), by=cast.office) == [
        (f"/{title}", "no_rows")
    ]


def test_a_template_that_is_filled_in_is_imported(cast):
    book = openpyxl.load_workbook(io.BytesIO(workbooks.schools_template(by=cast.office)))
    book["学校"].append(["新校", "9101210099", "小学", "东河镇"])
    result = workbooks.import_schools(file=saved(book), by=cast.office)
    assert counts(result) == (1, 0, 0)


def test_a_template_offers_lists_notes_and_a_marked_example(cast):
    book = openpyxl.load_workbook(io.BytesIO(workbooks.schools_template(by=cast.town_group)))
    assert book.sheetnames == ["学校", "填写说明", "选项"]
    assert book["选项"].sheet_state == "hidden"
    assert book["学校"]["A2"].value.startswith("（示例）")
    ranges = {str(rule.sqref) for rule in book["学校"].data_validations.dataValidation}
    assert ranges == {"C2:C1000", "D2:D1000", "H2:H1000", "J2:J1000"}
    words = {cell.value for row in book["选项"].iter_rows() for cell in row}
    assert {"幼儿园", "东河镇", "是"} <= words
    assert "西山镇" not in words
    notes = [row[0].value for row in book["填写说明"].iter_rows()]
    assert {"学校名称", "学校标识码", "是否在办"} <= set(notes)


# ---- rubbish


def archive(**parts):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as book:
        for name, content in parts.items():
            book.writestr(name.replace("__", "/").replace("_xml", ".xml"), content)
    stream.seek(0)
    return stream


def replaced(stream, name, change):
    """The workbook with one part changed."""
    result = io.BytesIO()
    with zipfile.ZipFile(stream) as old, zipfile.ZipFile(result, "w") as new:
        for part in old.infolist():
            content = old.read(part)
            new.writestr(part.filename, change(content) if part.filename == name else content)
    return io.BytesIO(result.getvalue())


@pytest.mark.parametrize(
    "content",
    [b"", b"PK", b"name,code\n1,2\n", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600],
    ids=["empty", "truncated", "csv", "old xls"],
)
def test_what_is_no_workbook_is_refused(cast, content):
    with pytest.raises(Malformed, match="xlsx") as refusal:
        workbooks.import_schools(file=io.BytesIO(content), by=cast.office)
    assert [p.pointer for p in refusal.value.problems] == ["/file"]


def test_another_zip_and_a_broken_sheet_are_refused(cast):
    good = workbook(SCHOOL_HEAD, school())
    sheet = "xl/worksheets/sheet1.xml"
    for file in [
        archive(readme="hello"),
        archive(xl__workbook_xml="<workbook/>"),
        archive(xl__workbook_xml="not xml"),
        replaced(good, sheet, lambda xml: xml[: len(xml) // 2]),
        io.BytesIO(good.getvalue()[: len(good.getvalue()) // 2]),
    ]:
        with pytest.raises(Malformed):
            workbooks.import_schools(file=file, by=cast.office)
    assert School.objects.count() == 3


def test_entities_are_refused_before_they_expand(cast, monkeypatch):
    def bomb(xml):
        return xml.replace(b"<worksheet", b'<!DOCTYPE x [<!ENTITY a "aaaa">]><worksheet', 1)

    opened = []
    monkeypatch.setattr(openpyxl, "load_workbook", lambda *args, **options: opened.append(args))
    file = replaced(workbook(SCHOOL_HEAD, school()), "xl/worksheets/sheet1.xml", bomb)
    with pytest.raises(Malformed):
        workbooks.import_schools(file=file, by=cast.office)
    assert not opened


def test_a_bomb_is_refused_before_it_is_unpacked(cast):
    file = archive(xl__workbook_xml="<workbook/>", bomb=b"\0" * (sheets.MAX_UNPACKED_BYTES + 1))
    assert len(file.getvalue()) < 1_000_000
    with pytest.raises(TooLarge):
        workbooks.import_schools(file=file, by=cast.office)


def test_too_many_bytes_and_too_many_rows_are_refused(cast, monkeypatch):
    rows = [school(code=f"91012{n:05}") for n in range(30)]
    monkeypatch.setattr(sheets, "MAX_ROWS", 10)
    with pytest.raises(TooLarge, match="超过 10 行"):
        import_schools(cast.office, *rows)
    monkeypatch.setattr(sheets, "MAX_FILE_BYTES", 1000)
    with pytest.raises(TooLarge):
        import_schools(cast.office, *rows)


def test_the_limit_is_on_rows_not_on_problems(cast, monkeypatch):
    monkeypatch.setattr(sheets, "MAX_PROBLEMS", 5)
    rows = [school(code=n) for n in range(20)]
    with pytest.raises(Invalid, match="发现 20 处问题") as refusal:
        import_schools(cast.office, *rows)
    assert len(refusal.value.problems) == 5


def test_a_table_without_its_headings_is_refused(cast):
    assert faults(import_schools, cast.office, school(), head=["甲", "乙", "丙", "丁"]) == [
        ("/file", "no_headings")
    ]


def test_formulas_count_by_their_results_and_without_one_are_refused(cast):
    rows = [school(enrolment="=100+100"), school(code="9101210098", address="=A1&B1")]
    file = workbook(SCHOOL_HEAD, *rows)
    assert faults(workbooks.import_schools, file=file, by=cast.office) == [
        ("/学校/2/在校生数", "formula_without_value"),
        ("/学校/3/地址", "formula_without_value"),
    ]

    def calculated(xml):
        xml = xml.replace(b"<f>100+100</f><v></v>", b"<f>100+100</f><v>200</v>")
        xml = xml.replace(b"<f>100+100</f><v />", b"<f>100+100</f><v>200</v>")
        assert b"<v>200</v>" in xml
        return xml

    file = workbook(SCHOOL_HEAD, rows[0])
    file = replaced(file, "xl/worksheets/sheet1.xml", calculated)
    workbooks.import_schools(file=file, by=cast.office)
    assert School.objects.get(code="9101210099").enrolment == 200


def test_an_empty_formula_in_the_last_row_is_not_taken_for_nothing(cast):
    file = workbook(SCHOOL_HEAD, school(), ["=A2"])
    assert faults(workbooks.import_schools, file=file, by=cast.office) == [
        ("/学校/3/学校名称", "formula_without_value")
    ]


# ---- cells


@pytest.mark.parametrize(
    "value",
    [
        datetime(2026, 9, 1, 8, 30, tzinfo=UTC), date(2026, 9, 1), 46266, 46266.0, "2026-09-01", "2026/9/1",
        "2026.9.1", "2026年9月1日", "２０２６年９月１日", " 2026 年 9 月 1 日 ", "20260901", 20260901,
        "2026-09-01 00:00:00",
    ],
)  # fmt: skip
def test_a_day_is_read_however_it_is_written(value):
    assert cells.day(value) == date(2026, 9, 1)


@pytest.mark.parametrize("value", ["2026年9月", "明天", "2026-02-30", 5, 1e300, "2026-9-1-1", True])
def test_what_is_no_day_is_refused(value):
    with pytest.raises(cells.CellError) as refusal:
        cells.day(value)
    assert refusal.value.code == "not_a_date"


@pytest.mark.parametrize("value", ["abc", "1e400", "nan", "inf", 1e10, "", "--1"])
def test_what_is_no_number_is_refused(value):
    with pytest.raises(cells.CellError):
        cells.count(value)


@pytest.mark.parametrize(
    ("value", "names"),
    [("甲、乙;丙；丁", ["甲", "乙", "丙", "丁"]), ("甲，甲\n乙", ["甲", "乙"]), ("、;", [])],
)
def test_several_names_are_split_and_each_kept_once(value, names):
    assert cells.several(value) == names


def test_control_characters_do_not_reach_the_database():
    assert cells.plain("东河\x00镇\u200b 小 学\t ") == "东河镇 小 学"
