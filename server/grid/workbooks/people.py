"""The workbook of people: one row per role, known by log-in name, role and place.

No passwords travel in the file: new people get an unusable one and are listed in the result.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db.models import Prefetch, QuerySet
from django.utils.translation import gettext as _

from server.grid.models import Appointment, Area, Membership, School, User, not_over
from server.grid.queries import areas_visible_to
from server.grid.workbooks import cells
from server.grid.workbooks.places import shared_names, written
from server.grid.workbooks.sheets import (
    EXAMPLE,
    Column,
)

Role = Membership.Role

TITLE = "人员"
ROLE_WORDS = {
    **{value: value for value in Role.values},
    "教育督导办": Role.OFFICE,
    "县教育督导办": Role.OFFICE,
    "督导办": Role.OFFICE,
    "镇街教育督导组": Role.TOWN_GROUP,
    "镇街督导组": Role.TOWN_GROUP,
    "督导组": Role.TOWN_GROUP,
    "责任督学": Role.INSPECTOR,
    "挂牌督学": Role.INSPECTOR,
    "督学": Role.INSPECTOR,
    "学校联系人": Role.SCHOOL_CONTACT,
    "联系人": Role.SCHOOL_CONTACT,
    "校长": Role.SCHOOL_CONTACT,
    "园长": Role.SCHOOL_CONTACT,
    "督导专家": Role.EXPERT,
    "专家": Role.EXPERT,
}
ROLE_CHOICES = ("教育督导办", "镇街教育督导组", "责任督学", "学校联系人", "督导专家")
ROLE_SHOWN = {ROLE_WORDS[word]: word for word in ROLE_CHOICES}

COLUMNS = (
    Column(
        name="name",
        heading="姓名",
        aliases=("人员姓名", "督学姓名"),
        parse=cells.text(40),
        required=True,
        example=f"{EXAMPLE}张三",
    ),
    Column(
        name="username",
        heading="登录名",
        aliases=("账号", "用户名", "登录账号"),
        parse=cells.pattern(
            r"[\w.@+-]{2,64}",
            "wrong_username",
            lambda: _("登录名应为 2 至 64 个字母、数字、汉字或 . @ + - _，不含空格"),
        ),
        required=True,
        example="zhangsan",
        note="同一登录名再次导入即更新此人。可以用手机号。一人有几个角色时写几行，登录名相同。",
    ),
    Column(
        name="phone",
        heading="手机号",
        aliases=("手机", "电话", "联系电话", "手机号码"),
        parse=cells.pattern(
            r"\+?\d{5,15}", "not_a_phone", lambda: _("应为电话号码，只含数字"), drop="-()"
        ),
        example="12000000000",
    ),
    Column(
        name="email",
        heading="电子邮箱",
        aliases=("邮箱", "E-mail", "Email"),
        parse=cells.email,
        example="zhangsan@example.com",
        width=24,
    ),
    Column(
        name="role",
        heading="角色",
        aliases=("职务", "角色/职务", "身份"),
        parse=cells.choice(ROLE_WORDS, lambda: "、".join(ROLE_CHOICES)),
        required=True,
        choices=ROLE_CHOICES,
        example="责任督学",
        note="从列表中选择。",
    ),
    Column(
        name="licence",
        heading="督学证号",
        aliases=("督学证", "证号", "督学证编号"),
        parse=cells.text(32),
        example="DX2026001",
    ),
    Column(
        name="place",
        heading="单位",
        aliases=("学校", "单位/学校", "所在单位", "任职单位", "行政区"),
        parse=cells.plain,
        example="云岭县",
        note="学校联系人填学校全称或标识码；其他角色填任职的县、镇街全称或代码，留空表示导入者本单位。",
        width=28,
    ),
    Column(
        name="schools",
        heading="负责学校",
        aliases=("挂牌学校", "负责学校/挂牌学校", "责任区学校", "督导学校"),
        parse=cells.several,
        example="东河镇中心小学、东河镇第二小学",
        note=(
            "只有责任督学填写，多所学校用“、”或“;”分开。填写的就是其全部负责学校："
            "新列出的即聘任，未列出的即结束聘任；留空表示不改动。"
        ),
        width=50,
    ),
    Column(
        name="starts",
        heading="任期开始",
        aliases=("聘任开始", "开始日期", "任职开始", "起始日期"),
        parse=cells.day,
        example="2026-09-01",
        note="日期；新任职留空表示从今天起。",
    ),
    Column(
        name="ends",
        heading="任期结束",
        aliases=("聘任结束", "结束日期", "任职结束", "截止日期"),
        parse=cells.day,
        example="2029-08-31",
        note="任期的最后一天。责任督学留空表示满 3 年；其他角色留空表示不限。",
    ),
    Column(
        name="is_active",
        heading="可登录",
        aliases=("是否可登录", "启用"),
        parse=cells.yes_or_no,
        choices=("是", "否"),
        example="是",
        width=10,
    ),
)
NOTES = (
    "一行一人一个角色。橙色列必填；其余列留空表示不改动已有内容。",
    "登录名已存在时更新，不存在时新增；表中没有的人员不受影响。",
    "文件中没有密码：新增人员在导入后由督导办发放初始密码。",
    "只要有一处错误，整个文件都不会导入；错误会逐行逐列列出。",
    "以“（示例）”开头的行不会导入。列的顺序可以调整，多余的列会被忽略。",
)
PERSON_FIELDS = ("name", "phone", "email", "licence", "is_active")


def people_template(*, by: User) -> bytes:
    """An empty workbook with headings, lists, an example row and notes."""
    from server.grid.workbooks.writing import write_table  # late, as it says there

    areas = areas_visible_to(by).filter(level__in=(Area.Level.COUNTY, Area.Level.TOWN))
    lists: dict[str, Sequence[str]] = {"place": list(areas.values_list("name", flat=True))}
    return write_table(TITLE, COLUMNS, (), notes=NOTES, example=True, choices=lists)


def export_people(people: QuerySet[User]) -> bytes:
    """The people's lasting roles as a workbook that `import_people` takes back without a change."""
    from server.grid.workbooks.writing import write_table  # late, as it says there

    roles = Membership.objects.filter(not_over()).select_related("area", "school")
    terms = Appointment.objects.filter(not_over()).select_related("school__area")
    people = people.order_by("username").prefetch_related(
        Prefetch("memberships", roles.order_by("role", "starts")),
        Prefetch("appointments", terms.order_by("school__code")),
    )
    shared = shared_names(Area), shared_names(School)
    rows = (_written_row(user, row, shared) for user in people for row in user.memberships.all())
    return write_table(TITLE, COLUMNS, rows, notes=NOTES)


def _written_row(user: User, row: Membership, shared: tuple[set[str], set[str]]) -> dict[str, Any]:
    place = written(row.area, shared[0]) if row.area else written(row.school, shared[1])  # type: ignore[arg-type]
    return {
        **{name: getattr(user, name) for name in ("username", *PERSON_FIELDS)},
        "is_active": "是" if user.is_active else "否",
        "role": ROLE_SHOWN[row.role],
        "place": place,
        "schools": "、".join(written(school, shared[1]) for school in _inspected(user, row)),
        "starts": row.starts.isoformat(),
        "ends": row.ends.isoformat() if row.ends else None,
    }


def _inspected(user: User, row: Membership) -> list[School]:
    """The schools of the inspector's appointments in the role's area, each once."""
    if row.role != Role.INSPECTOR:
        return []
    path = row.place_path
    schools = (appointment.school for appointment in user.appointments.all())
    return list(dict.fromkeys(s for s in schools if s.area.path.startswith(path)))
