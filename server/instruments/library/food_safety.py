"""校园食品安全专项督导检查表: special inspection of food safety at schools.

After 学校食品安全与营养健康管理规定 (2019) and the check-lists in common use. An item that fails asks
for a remark, and for a photo where evidence matters.
"""

from __future__ import annotations

from typing import NamedTuple

from server.instruments.library.sheets import (
    Both,
    Finding,
    Row,
    Workbook,
    ask,
    choices,
    group,
    opening,
    signatures,
)

MINOR, MAJOR, SEVERE = "一般", "较重", "严重"


class Item(NamedTuple):
    """One line of the check-list."""

    name: str
    zh: str
    en: str
    severity: str
    days: int
    photo: bool = False


class Part(NamedTuple):
    """A section of the check-list, with measured values after its items."""

    name: str
    label: Both
    items: tuple[Item, ...]
    measured: tuple[Row, ...] = ()


PARTS = (
    Part(
        "licence",
        ("一、许可与公示", "1. Licence and notices"),
        (
            Item(
                "licence_posted",
                "食品经营许可证在醒目位置公示，且在有效期内",
                "Food licence posted and valid",
                SEVERE,
                7,
                True,
            ),
            Item(
                "licence_scope",
                "经营项目未超出许可范围",
                "Operation within the licensed scope",
                SEVERE,
                7,
            ),
            Item(
                "grade_posted",
                "量化分级、监督信息已公示",
                "Grade and supervision notice posted",
                MINOR,
                15,
            ),
            Item(
                "menu_posted", "每周带量食谱已公示", "Weekly menu with quantities posted", MINOR, 15
            ),
        ),
        (
            ask(
                "date",
                "licence_expiry",
                ("许可证有效期至", "Licence valid until"),
                finding=Finding(
                    ". < today()", SEVERE, 7, ("食品经营许可证已过期", "Food licence has expired")
                ),
            ),
        ),
    ),
    Part(
        "duty",
        ("二、制度与责任", "2. Rules and duties"),
        (
            Item(
                "principal_duty",
                "落实校长（园长）负责制，配备食品安全总监或食品安全员",
                "Principal responsible; safety officer appointed",
                MAJOR,
                15,
            ),
            Item("daily_control", "日管控记录完整", "Daily control recorded", MAJOR, 7),
            Item("weekly_check", "周排查记录完整", "Weekly check recorded", MAJOR, 7),
            Item("monthly_review", "月调度会议纪要完整", "Monthly review recorded", MAJOR, 15),
            Item(
                "emergency_plan",
                "有食品安全事故应急预案并演练",
                "Emergency plan exists and was rehearsed",
                MINOR,
                30,
            ),
            Item(
                "parents_committee",
                "家长委员会参与食堂监督",
                "Parents take part in supervision",
                MINOR,
                30,
            ),
        ),
    ),
    Part(
        "meals",
        ("三、集中用餐陪餐", "3. Accompanied meals"),
        (
            Item(
                "accompanied",
                "每餐有学校负责人与学生共同用餐",
                "A person in charge eats with the pupils",
                MAJOR,
                7,
            ),
            Item(
                "meal_records",
                "陪餐记录完整，问题有处理",
                "Accompanied meals recorded and followed up",
                MINOR,
                7,
            ),
        ),
        (
            ask(
                "integer",
                "diners",
                ("当日用餐人数", "Diners today"),
                constraint=". >= 0 and . <= 20000",
                message=("应在 0 到 20000 之间", "Between 0 and 20000"),
            ),
        ),
    ),
    Part(
        "staff",
        ("四、从业人员", "4. Staff"),
        (
            Item(
                "certificates",
                "从业人员健康证明齐全有效",
                "All health certificates valid",
                SEVERE,
                3,
                True,
            ),
            Item("morning_check", "每日晨检并有记录", "Daily morning check recorded", MAJOR, 7),
            Item(
                "clothing",
                "工作衣帽、口罩穿戴规范，不戴饰物",
                "Clean work clothes, caps and masks; no jewellery",
                MINOR,
                3,
            ),
            Item(
                "training",
                "每学期参加食品安全培训并考核",
                "Trained and tested every term",
                MINOR,
                30,
            ),
        ),
        (
            ask(
                "integer",
                "staff_count",
                ("从业人员人数", "Staff"),
                required=True,
                constraint=". >= 0 and . <= 500",
                message=("应在 0 到 500 之间", "Between 0 and 500"),
            ),
            ask(
                "integer",
                "staff_certified",
                ("其中持有效健康证明的人数", "Of them with a valid certificate"),
                required=True,
                constraint=". >= 0 and . <= ${staff_count}",
                message=("不能多于从业人员人数", "Not more than the staff"),
                finding=Finding(
                    ". < ${staff_count}",
                    SEVERE,
                    3,
                    ("有从业人员无有效健康证明", "Staff without a valid health certificate"),
                ),
            ),
        ),
    ),
    Part(
        "purchase",
        ("五、采购与进货查验", "5. Purchase"),
        (
            Item(
                "suppliers",
                "供货者资质齐全，大宗食材定点采购",
                "Suppliers qualified; staples from fixed suppliers",
                MAJOR,
                15,
            ),
            Item(
                "receipts",
                "进货查验记录和票据齐全，可追溯",
                "Purchase checks and receipts complete",
                MAJOR,
                7,
                True,
            ),
            Item(
                "meat_certificates",
                "畜禽肉有检疫、检验合格证明",
                "Meat has quarantine certificates",
                SEVERE,
                3,
                True,
            ),
            Item(
                "expired_food",
                "无过期、变质、“三无”食品",
                "No expired, spoiled or unlabelled food",
                SEVERE,
                1,
                True,
            ),
            Item(
                "additives",
                "食品添加剂专人专柜、使用有记录，无亚硝酸盐",
                "Additives locked and recorded; no nitrite",
                SEVERE,
                1,
            ),
        ),
    ),
    Part(
        "storage",
        ("六、贮存", "6. Storage"),
        (
            Item(
                "off_floor",
                "食品离地离墙存放，分类分架",
                "Food off the floor and the wall, sorted",
                MINOR,
                7,
                True,
            ),
            Item(
                "labelled",
                "散装食品有名称、日期等标识",
                "Loose food labelled with name and date",
                MINOR,
                7,
            ),
            Item(
                "first_out",
                "先进先出，库存台账清楚",
                "First in, first out; stock recorded",
                MINOR,
                15,
            ),
            Item(
                "raw_cooked_storage",
                "冷藏冷冻生熟分开，不混放",
                "Raw and cooked stored apart",
                MAJOR,
                3,
                True,
            ),
        ),
        (
            ask(
                "decimal",
                "fridge_temperature",
                ("冷藏温度（℃）", "Refrigerator (°C)"),
                constraint=". >= -10 and . <= 45",
                message=("应在 -10 到 45 之间", "Between -10 and 45"),
                finding=Finding(". > 8", MAJOR, 3, ("冷藏温度高于 8 ℃", "Refrigerator above 8 °C")),
            ),
            ask(
                "decimal",
                "freezer_temperature",
                ("冷冻温度（℃）", "Freezer (°C)"),
                constraint=". >= -60 and . <= 45",
                message=("应在 -60 到 45 之间", "Between -60 and 45"),
                finding=Finding(
                    ". > -12", MAJOR, 3, ("冷冻温度高于 -12 ℃", "Freezer above -12 °C")
                ),
            ),
        ),
    ),
    Part(
        "processing",
        ("七、加工制作", "7. Processing"),
        (
            Item(
                "no_cold_dishes",
                "中小学、幼儿园不制售冷荤凉菜、生食、裱花糕点",
                "No cold dishes, raw food or decorated cakes",
                SEVERE,
                1,
                True,
            ),
            Item(
                "no_risky_food",
                "不加工四季豆、鲜黄花菜、野生蘑菇、发芽土豆等高风险食品",
                "No green beans, fresh day-lily, wild mushrooms or sprouted potatoes",
                SEVERE,
                1,
                True,
            ),
            Item(
                "tools_apart",
                "生熟工具、容器分开使用并有标识",
                "Tools for raw and cooked food apart and marked",
                MAJOR,
                3,
                True,
            ),
            Item(
                "washing_apart",
                "动物性、植物性、水产食材分池清洗",
                "Separate sinks for meat, vegetables and fish",
                MINOR,
                15,
            ),
            Item("no_leftovers", "不使用隔餐剩余食品", "No food from earlier meals", MAJOR, 1),
            Item("two_hours", "成品在 2 小时内食用", "Food eaten within two hours", MAJOR, 3),
        ),
        (
            ask(
                "decimal",
                "core_temperature",
                ("抽测菜品中心温度（℃）", "Core temperature of a dish (°C)"),
                constraint=". >= 0 and . <= 120",
                message=("应在 0 到 120 之间", "Between 0 and 120"),
                finding=Finding(
                    ". < 70", MAJOR, 1, ("菜品中心温度低于 70 ℃", "Core temperature below 70 °C")
                ),
            ),
        ),
    ),
    Part(
        "samples",
        ("八、食品留样", "8. Food samples"),
        (
            Item(
                "samples_kept",
                "每餐次每个品种留样",
                "Every dish of every meal sampled",
                MAJOR,
                3,
                True,
            ),
            Item(
                "samples_labelled",
                "留样容器有标签，记录完整，专柜冷藏",
                "Samples labelled, recorded, in their own refrigerator",
                MINOR,
                3,
            ),
        ),
        (
            ask(
                "integer",
                "sample_grams",
                ("抽查留样量（克）", "Weight of a sample (g)"),
                constraint=". >= 0 and . <= 5000",
                message=("应在 0 到 5000 之间", "Between 0 and 5000"),
                finding=Finding(". < 125", MAJOR, 3, ("留样量不足 125 克", "Samples below 125 g")),
            ),
            ask(
                "integer",
                "sample_hours",
                ("留样保存时间（小时）", "Samples kept for (hours)"),
                constraint=". >= 0 and . <= 1000",
                message=("应在 0 到 1000 之间", "Between 0 and 1000"),
                finding=Finding(
                    ". < 48", MAJOR, 3, ("留样不足 48 小时", "Samples kept for less than 48 hours")
                ),
            ),
        ),
    ),
    Part(
        "disinfection",
        ("九、清洗消毒", "9. Disinfection"),
        (
            Item(
                "tableware",
                "餐用具一餐一消毒，保洁存放",
                "Tableware disinfected after every meal and kept clean",
                MAJOR,
                3,
                True,
            ),
            Item("disinfection_records", "消毒记录完整", "Disinfection recorded", MINOR, 7),
            Item(
                "disinfectants",
                "洗涤剂、消毒剂合格并与食品分开存放",
                "Detergents approved and stored apart",
                MAJOR,
                7,
            ),
        ),
        (
            ask(
                "date",
                "last_disinfection",
                ("最近一次消毒记录日期", "Latest disinfection record"),
                constraint=". <= today()",
                message=("不能晚于今天", "Not after today"),
            ),
        ),
    ),
    Part(
        "surroundings",
        ("十、环境、饮水与废弃物", "10. Surroundings, water and waste"),
        (
            Item(
                "clean_rooms",
                "场所整洁，无积水、油污、霉斑",
                "Rooms clean, no puddles, grease or mould",
                MINOR,
                7,
                True,
            ),
            Item(
                "pests",
                "防蝇、防鼠、防虫设施有效",
                "Protection against flies, rodents and insects works",
                MAJOR,
                7,
                True,
            ),
            Item(
                "drinking_water",
                "饮用水水质合格，有检测报告",
                "Drinking water tested and good",
                SEVERE,
                7,
            ),
            Item(
                "water_tanks",
                "二次供水设施加盖上锁，定期清洗消毒",
                "Water tanks locked and cleaned",
                MAJOR,
                7,
            ),
            Item(
                "dispensers",
                "饮水机滤芯按期更换并有记录",
                "Dispenser filters replaced on time",
                MINOR,
                15,
            ),
            Item(
                "waste",
                "餐厨废弃物日产日清，有合同和台账",
                "Kitchen waste removed daily, with contract and records",
                MINOR,
                7,
            ),
            Item("cctv", "“互联网+明厨亮灶”设备正常运行", "Kitchen cameras work", MINOR, 15),
            Item(
                "access",
                "食堂实行封闭管理，无关人员不得进入",
                "Kitchen closed to outsiders",
                MAJOR,
                3,
            ),
        ),
    ),
)
ITEMS = tuple(item for part in PARTS for item in part.items)


def _item_rows(item: Item, number: str) -> list[Row]:
    fails = f"${{{item.name}}} = 'no'"
    rows = [
        ask(
            "select_one conformity",
            item.name,
            (f"{number} {item.zh}", f"{number} {item.en}"),
            required=True,
            finding=Finding(
                "不符合", item.severity, item.days, (f"不符合：{item.zh}", f"Fails: {item.en}")
            ),
        ),
        ask(
            "text",
            f"{item.name}_note",
            ("情况说明", "Remark"),
            required=True,
            relevant=fails,
            appearance="multiline",
        ),
    ]
    if item.photo:
        rows.append(ask("image", f"{item.name}_photo", ("现场照片", "Photo"), relevant=fails))
    return rows


def _part_rows(part: Part, number: int) -> list[Row]:
    rows = [
        row
        for index, item in enumerate(part.items, start=1)
        for row in _item_rows(item, f"{number}.{index}")
    ]
    return group(part.name, part.label, [*rows, *part.measured], appearance="field-list")


def _conclusion() -> list[Row]:
    failed = " + ".join(f"number(${{{item.name}}} = 'no')" for item in ITEMS)
    rows = [
        ask("calculate", "failed_items", calculation=failed),
        ask(
            "note",
            "failed_note",
            ("本次检查共有 ${failed_items} 项不符合。", "${failed_items} items fail."),
        ),
        ask("image", "kitchen_photo", ("食堂整体照片", "Photo of the kitchen")),
        ask("select_one verdict", "verdict", ("总体评价", "Overall"), required=True),
        ask("text", "opinion", ("督导意见", "Opinion"), appearance="multiline"),
        ask("geopoint", "location", ("检查位置", "Location")),
        *signatures(),
    ]
    return group("conclusion", ("结论", "Conclusion"), rows)


WORKBOOK = Workbook(
    form_id="food_safety",
    title="校园食品安全专项督导检查表",
    survey=[
        *opening(),
        *(row for number, part in enumerate(PARTS, start=1) for row in _part_rows(part, number)),
        *_conclusion(),
    ],
    choices=[
        *choices(
            "conformity",
            ("yes", "符合", "Conforms", 1),
            ("no", "不符合", "Fails", 0),
            ("na", "不适用", "Not applicable"),
        ),
        *choices(
            "verdict",
            ("good", "良好", "Good", 3),
            ("fair", "一般", "Fair", 2),
            ("poor", "较差", "Poor", 1),
        ),
    ],
)
