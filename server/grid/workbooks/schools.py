"""The workbook of schools: one row per school, known by its code."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from django.db.models import QuerySet
from django.utils.translation import gettext as _

from server.core.errors import Problem
from server.grid.coordinates import CoordinateSystem, to_wgs84
from server.grid.models import Area, School, User
from server.grid.queries import areas_visible_to
from server.grid.services import Scope, announce_school, position_of, schools_moved, scope_of
from server.grid.workbooks import cells
from server.grid.workbooks.places import Directory, areas_of, shared_names, written
from server.grid.workbooks.sheets import (
    EXAMPLE,
    Column,
    ImportResult,
    Row,
    Table,
    all_or_nothing,
    read_table,
)

TITLE = "学校"
STAGE_WORDS = {
    **{value: value for value in School.Stage.values},
    "幼儿园": "kindergarten",
    "幼儿": "kindergarten",
    "学前教育": "kindergarten",
    "小学": "primary",
    "完全小学": "primary",
    "教学点": "primary",
    "小学教学点": "primary",
    "初中": "junior",
    "初级中学": "junior",
    "九年一贯制学校": "nine_year",
    "九年一贯制": "nine_year",
    "九年制学校": "nine_year",
    "九年制": "nine_year",
    "高中": "senior",
    "高级中学": "senior",
    "普通高中": "senior",
    "职业学校": "vocational",
    "职业高中": "vocational",
    "中等职业学校": "vocational",
    "中职": "vocational",
    "特殊教育学校": "special",
    "特殊教育": "special",
    "特教学校": "special",
}
STAGE_CHOICES = ("幼儿园", "小学", "初中", "九年一贯制学校", "高中", "职业学校", "特殊教育学校")
STAGE_SHOWN = {STAGE_WORDS[word]: word for word in STAGE_CHOICES}
SYSTEM_CHOICES = ("WGS-84", "GCJ-02（高德、腾讯）", "BD-09（百度）")
SYSTEM_WORDS = {
    **{cells.key(word): code for word, code in zip(SYSTEM_CHOICES, CoordinateSystem, strict=True)},
    **dict.fromkeys(("wgs84", "gps", "cgcs2000", "天地图", "地球坐标"), CoordinateSystem.WGS84),
    **dict.fromkeys(("gcj-02", "gcj02", "火星坐标", "国测局坐标"), CoordinateSystem.GCJ02),
    **dict.fromkeys(("高德", "高德地图", "腾讯", "腾讯地图"), CoordinateSystem.GCJ02),
    **dict.fromkeys(("bd-09", "bd09", "百度", "百度地图", "百度坐标"), CoordinateSystem.BD09),
}

SYSTEM = "system"
POSITION = ("latitude", "longitude")
COLUMNS = (
    Column(
        name="name",
        heading="学校名称",
        aliases=("学校", "学校全称", "单位名称", "幼儿园名称", "校名"),
        parse=cells.text(120),
        required=True,
        example=f"{EXAMPLE}东河镇中心小学",
        note="学校公章上的全称。",
        width=30,
    ),
    Column(
        name="code",
        heading="学校标识码",
        aliases=("标识码", "学校代码", "学校编码", "机构代码", "代码"),
        parse=cells.pattern(
            r"\d{10}", "wrong_code", lambda: _("学校标识码应为 10 位数字，请核对位数")
        ),
        required=True,
        example="9101210001",
        note="10 位数字。同一标识码再次导入即更新该校。",
    ),
    Column(
        name="stage",
        heading="学段",
        aliases=("学校类别", "学段/学校类别", "类别", "办学类型", "学校类型"),
        parse=cells.choice(STAGE_WORDS, lambda: "、".join(STAGE_CHOICES)),
        required=True,
        choices=STAGE_CHOICES,
        example="小学",
        note="从列表中选择。",
    ),
    Column(
        name="area",
        heading="所在镇街",
        aliases=("镇街", "镇/街道", "所在镇", "乡镇", "所属镇街", "所在乡镇", "行政区"),
        parse=cells.plain,
        required=True,
        example="东河镇",
        note="镇街全称或行政区划代码，须在本单位范围内。",
    ),
    Column(
        name="address",
        heading="地址",
        aliases=("学校地址", "详细地址", "办学地址"),
        parse=cells.text(200),
        example="东河镇学府路 1 号",
        width=32,
    ),
    Column(
        name="longitude",
        heading="经度",
        aliases=("东经",),
        parse=cells.degrees(180),
        example="96.012345",
        note="十进制度数；经度和纬度要么都填，要么都不填。",
    ),
    Column(
        name="latitude",
        heading="纬度",
        aliases=("北纬",),
        parse=cells.degrees(90),
        example="36.012345",
        note="十进制度数；经度和纬度要么都填，要么都不填。",
    ),
    Column(
        name=SYSTEM,
        heading="坐标系",
        aliases=("坐标系统", "坐标类型", "地图", "坐标来源"),
        parse=cells.choice(SYSTEM_WORDS, lambda: "、".join(SYSTEM_CHOICES)),
        choices=SYSTEM_CHOICES,
        example="GCJ-02（高德、腾讯）",
        note="经纬度取自哪种地图：高德、腾讯地图填 GCJ-02，百度地图填 BD-09，导入时换算为 WGS-84；"
        "卫星定位或天地图填 WGS-84。留空按导入时的选择，没有选择即 WGS-84。",
        width=20,
    ),
    Column(
        name="enrolment",
        heading="在校生数",
        aliases=("学生数", "在校学生数", "在园幼儿数", "学生人数", "幼儿数"),
        parse=cells.count,
        example="356",
        note="不小于 0 的整数。",
        width=12,
    ),
    Column(
        name="is_active",
        heading="是否在办",
        aliases=("在办", "办学状态", "状态"),
        parse=cells.yes_or_no,
        choices=("是", "否"),
        example="是",
        note="撤并、停办的学校填“否”，不要删除。",
        width=10,
    ),
)
FIELDS = tuple(column.name for column in COLUMNS if column.name != SYSTEM)
NOTES = (
    "一行一所学校。橙色列必填；其余列留空表示不改动已有内容。",
    "同一标识码的学校已存在时更新，不存在时新增；表中没有的学校不受影响。",
    "只要有一处错误，整个文件都不会导入；错误会逐行逐列列出。",
    "以“（示例）”开头的行不会导入。列的顺序可以调整，多余的列会被忽略。",
)


def schools_template(*, by: User) -> bytes:
    """An empty workbook with headings, lists, an example row and notes."""
    from server.grid.workbooks.writing import write_table  # late, as it says there

    towns = areas_visible_to(by).filter(level=Area.Level.TOWN).values_list("name", flat=True)
    return write_table(TITLE, COLUMNS, (), notes=NOTES, example=True, choices={"area": list(towns)})


def export_schools(schools: QuerySet[School]) -> bytes:
    """The schools as a workbook that `import_schools` takes back without a change."""
    from server.grid.workbooks.writing import write_table  # late, as it says there

    shared = shared_names(Area)
    rows = (
        {
            **{name: getattr(school, name) for name in FIELDS},
            "stage": STAGE_SHOWN[school.stage],
            "area": written(school.area, shared),
            "is_active": "是" if school.is_active else "否",
            SYSTEM: SYSTEM_CHOICES[0] if school.latitude is not None else None,
        }
        for school in schools.select_related("area").order_by("code")
    )
    return write_table(TITLE, COLUMNS, rows, notes=NOTES)


@all_or_nothing
def import_schools(
    *, file: BinaryIO, by: User, system: CoordinateSystem = CoordinateSystem.WGS84
) -> ImportResult:
    """Create and update schools by their code, all or nothing.

    Positions are brought to WGS-84 from the coordinates that their row names, else from `system`. Raises Malformed, TooLarge; Invalid with a problem for every wrong cell
    (`/学校/12/学段`: sheet, row, column).
    """
    table = read_table(file, COLUMNS)
    scope = scope_of(by)
    stored = _stored(table)
    table.problems += _problems(table, stored, scope, areas_of(scope))
    for row in table.rows:
        table.problems += _in_wgs84(row, row.values.pop(SYSTEM, system))
    table.refuse_problems()
    created = [School(**row.values) for row in table.rows if row.values["code"] not in stored]
    School.objects.bulk_create(created)
    for school in created:
        announce_school(school, old_area=None)
    known = [row for row in table.rows if row.values["code"] in stored]
    moved = [
        school.pk
        for row in known
        if position_of(school := stored[row.values["code"]]) != _position_after(school, row)
    ]
    updated = sum(_update(stored[row.values["code"]], row) for row in known)
    if moved:
        schools_moved.send(School, school_ids=moved)
    return ImportResult(
        created=len(created),
        updated=updated,
        unchanged=len(table.rows) - len(created) - updated,
    )


def _stored(table: Table) -> dict[str, School]:
    """The schools of the file that exist already, locked, by code."""
    codes = [row.values["code"] for row in table.rows if "code" in row.values]
    rows = School.objects.select_related("area").select_for_update(of=("self",))
    return {school.code: school for school in rows.filter(code__in=codes)}


def _problems(
    table: Table, stored: dict[str, School], scope: Scope, areas: Directory[Area]
) -> Iterator[Problem]:
    """What is wrong beyond single cells. Puts the area in place of its name."""
    first_rows: dict[str, int] = {}
    for row in table.rows:
        code = row.get("code")
        if code in first_rows:
            detail = _("与第 {row} 行的学校标识码重复，请删去一行").format(row=first_rows[code])
            yield row.problem("code", "duplicate", detail)
        if code:
            first_rows.setdefault(code, row.number)
        if code in stored and not scope.covers(stored[code].area.path):
            detail = _("此标识码属于本单位范围以外的学校，请核对，或由其主管单位导入")
            yield row.problem("code", "not_yours", detail)
        yield from _position_problems(row, stored.get(code))
        yield from _area_problems(row, areas)


def _position_problems(row: Row, school: School | None) -> Iterator[Problem]:
    """Half a position is none. What is stored completes what the row leaves blank."""
    if row.unreadable & set(POSITION):
        return
    for name, other in (("latitude", "longitude"), ("longitude", "latitude")):
        known = row.get(other) is not None or getattr(school, other, None) is not None
        if known and row.get(name) is None and getattr(school, name, None) is None:
            yield row.problem(name, "half_position", _("经度和纬度要么都填，要么都不填"))


def _in_wgs84(row: Row, system: CoordinateSystem) -> Iterator[Problem]:
    """Convert the row's position; half of one cannot be."""
    given = [name for name in ("longitude", "latitude") if row.get(name) is not None]
    if system is CoordinateSystem.WGS84 or not given or row.unreadable & set(POSITION):
        return
    if len(given) == 1:
        absent = "latitude" if given == ["longitude"] else "longitude"
        yield row.problem(absent, "half_position", _("换算坐标须同时填写经度和纬度"))
        return
    point = row.values["latitude"], row.values["longitude"]
    row.values["latitude"], row.values["longitude"] = to_wgs84(point, system)


def _position_after(school: School, row: Row) -> tuple[float | None, float | None]:
    values = (row.values.get(name, getattr(school, name)) for name in POSITION)
    latitude, longitude = values
    return latitude, longitude


def _area_problems(row: Row, areas: Directory[Area]) -> Iterator[Problem]:
    if "area" not in row.values:
        return
    try:
        row.values["area"] = areas.find(row.values["area"])
    except cells.CellError as error:
        yield row.problem("area", error.code, error.detail)


def _update(school: School, row: Row) -> bool:
    """Store what the row changes; whether it changes anything."""
    changes = {name: value for name, value in row.values.items() if getattr(school, name) != value}
    if not changes:
        return False
    old_area = school.area
    for name, value in changes.items():
        setattr(school, name, value)
    school.save(update_fields=list(changes))
    announce_school(school, old_area=old_area)
    return True
