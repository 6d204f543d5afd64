"""责任督学挂牌督导记录: the record of a responsible inspector's visit in a supervision week.

The eight matters are those of 中小学校责任督学挂牌督导办法 (2013).
"""

from __future__ import annotations

from server.instruments.library.sheets import (
    Finding,
    Row,
    Workbook,
    ask,
    choices,
    group,
    opening,
    repeat,
    signatures,
)

MATTERS = (
    ("management", "校务管理和制度执行", "School management and rules", "一般", 30),
    ("admission", "招生、收费、择校", "Admission, fees and school choice", "较重", 15),
    ("teaching", "课程开设和课堂教学", "Curriculum and teaching", "一般", 30),
    ("burden", "学生学习、体育锻炼和课业负担", "Learning, sport and homework", "较重", 15),
    ("teachers", "教师师德和专业发展", "Teachers' ethics and development", "较重", 15),
    (
        "safety",
        "校园及周边安全、学生交通安全",
        "Safety in, around and on the way to school",
        "严重",
        7,
    ),
    ("hygiene", "食堂、食品、饮水及宿舍卫生", "Canteen, food, water and dormitories", "严重", 7),
    ("spirit", "校风、教风、学风", "Spirit of school, teaching and learning", "一般", 30),
)


def _matter_rows(name: str, zh: str, en: str, severity: str, days: int) -> list[Row]:
    return [
        ask(
            "select_one rating",
            name,
            (zh, en),
            required=True,
            appearance="minimal",
            finding=Finding("存在问题", severity, days, (f"存在问题：{zh}", f"Problem: {en}")),
        ),
        ask(
            "text",
            f"{name}_note",
            ("存在的问题", "What is the problem"),
            required=True,
            relevant=f"${{{name}}} = 'poor'",
            appearance="multiline",
        ),
    ]


def _documents() -> list[Row]:
    return [
        ask(
            "select_multiple document",
            "documents_seen",
            ("查阅的资料", "Documents seen"),
            required=True,
        ),
        ask(
            "text",
            "documents_other",
            ("其他资料", "Other documents"),
            required=True,
            relevant="selected(${documents_seen}, 'other')",
        ),
        ask("text", "documents_note", ("资料查阅情况", "What they show"), appearance="multiline"),
    ]


def _interviews() -> list[Row]:
    return [
        ask("select_one person", "person", ("访谈对象", "With whom"), required=True),
        ask(
            "integer",
            "people",
            ("人数", "How many"),
            required=True,
            constraint=". >= 1 and . <= 500",
            message=("应在 1 到 500 之间", "Between 1 and 500"),
        ),
        ask(
            "text", "content", ("主要内容", "What was said"), required=True, appearance="multiline"
        ),
    ]


def _walk() -> list[Row]:
    return [
        ask("select_multiple place", "places", ("巡视场所", "Places seen"), required=True),
        ask(
            "select_one yes_no",
            "hazard",
            ("是否发现安全隐患", "Was a hazard found"),
            required=True,
            finding=Finding(
                "是", "严重", 3, ("校园巡视发现安全隐患", "Hazard found on the campus walk")
            ),
        ),
        ask(
            "text",
            "hazard_note",
            ("隐患情况", "What hazard"),
            required=True,
            relevant="${hazard} = 'yes'",
            appearance="multiline",
        ),
        ask(
            "image",
            "hazard_photo",
            ("隐患照片", "Photo of the hazard"),
            relevant="${hazard} = 'yes'",
        ),
        ask("image", "walk_photo", ("巡视照片", "Photo of the walk")),
    ]


def _lessons() -> list[Row]:
    return [
        ask(
            "select_one subject",
            "subject",
            ("学科", "Subject"),
            required=True,
            appearance="minimal",
        ),
        ask("select_one grade", "grade", ("年级", "Grade"), required=True, appearance="minimal"),
        ask("text", "teacher", ("任课教师", "Teacher"), required=True),
        ask("text", "topic", ("课题", "Topic")),
        ask(
            "integer",
            "lesson_score",
            ("评分（百分制）", "Score of 100"),
            required=True,
            constraint=". >= 0 and . <= 100",
            message=("应在 0 到 100 之间", "Between 0 and 100"),
            finding=Finding(
                ". < 60", "一般", 30, ("随机听课评分低于 60 分", "Lesson scored below 60")
            ),
        ),
        ask("text", "lesson_opinion", ("听课意见", "Opinion"), appearance="multiline"),
    ]


def _conclusion() -> list[Row]:
    return [
        ask("calculate", "lesson_count", calculation="count(${lessons})"),
        ask(
            "note",
            "lesson_note",
            ("本次共听课 ${lesson_count} 节。", "${lesson_count} lessons heard."),
        ),
        ask("select_one overall", "overall", ("总体结论", "Conclusion"), required=True),
        ask("text", "strengths", ("主要成效", "Strengths"), appearance="multiline"),
        ask(
            "text",
            "suggestions",
            ("督导意见和建议", "Suggestions"),
            required=True,
            appearance="multiline",
        ),
        ask(
            "select_one yes_no",
            "told_school",
            ("是否已向学校反馈", "Told to the school"),
            required=True,
        ),
        ask(
            "date",
            "return_visit",
            ("计划回访日期", "Return visit planned for"),
            constraint=". >= today()",
            message=("不能早于今天", "Not before today"),
        ),
        *signatures(),
    ]


GRADES = ("一", "二", "三", "四", "五", "六", "七", "八", "九")

WORKBOOK = Workbook(
    form_id="supervision_week",
    title="责任督学挂牌督导记录",
    survey=[
        *opening(),
        ask(
            "integer",
            "week",
            ("第几个督导周", "Supervision week"),
            constraint=". >= 1 and . <= 30",
            message=("应在 1 到 30 之间", "Between 1 and 30"),
        ),
        ask("select_one way", "way", ("督导方式", "Kind of supervision"), required=True),
        *group(
            "matters",
            ("一、督导事项", "1. The eight matters"),
            [row for matter in MATTERS for row in _matter_rows(*matter)],
            appearance="field-list",
        ),
        *group("documents", ("二、查阅资料", "2. Documents"), _documents()),
        *repeat("interviews", ("三、访谈", "3. Interviews"), _interviews()),
        *group("walk", ("四、校园巡视", "4. Campus walk"), _walk()),
        *repeat("lessons", ("五、随机听课", "5. Lessons heard"), _lessons()),
        *group("conclusion", ("六、结论", "6. Conclusion"), _conclusion()),
    ],
    choices=[
        *choices(
            "rating",
            ("good", "落实良好", "Well done", 3),
            ("fair", "基本落实", "Mostly done", 2),
            ("poor", "存在问题", "Problem", 1),
            ("skipped", "本次未查", "Not looked at"),
        ),
        *choices("way", ("routine", "常规督导", "Routine"), ("special", "专项督导", "Special")),
        *choices("yes_no", ("yes", "是", "Yes"), ("no", "否", "No")),
        *choices(
            "document",
            ("plans", "工作计划与总结", "Plans and reports"),
            ("rules", "规章制度", "Rules"),
            ("timetable", "课程表、作息时间表", "Timetables"),
            ("lesson_plans", "教案和作业", "Lesson plans and homework"),
            ("safety_records", "安全工作台账", "Safety records"),
            ("canteen_records", "食堂台账", "Canteen records"),
            ("fees", "收费公示与票据", "Fees and receipts"),
            ("other", "其他", "Other"),
        ),
        *choices(
            "person",
            ("leader", "学校领导", "School leaders"),
            ("teacher", "教师", "Teachers"),
            ("pupil", "学生", "Pupils"),
            ("parent", "家长", "Parents"),
        ),
        *choices(
            "place",
            ("gate", "校门及周边", "Gate and surroundings"),
            ("classrooms", "教室", "Classrooms"),
            ("special_rooms", "功能室", "Special rooms"),
            ("ground", "运动场", "Sports ground"),
            ("canteen", "食堂", "Canteen"),
            ("dormitory", "宿舍", "Dormitory"),
            ("toilets", "卫生间", "Toilets"),
            ("monitoring", "监控与消防设施", "Monitoring and fire equipment"),
        ),
        *choices(
            "subject",
            ("chinese", "语文", "Chinese"),
            ("mathematics", "数学", "Mathematics"),
            ("english", "英语", "English"),
            ("morality", "道德与法治", "Morality and law"),
            ("science", "科学", "Science"),
            ("physics", "物理", "Physics"),
            ("chemistry", "化学", "Chemistry"),
            ("biology", "生物", "Biology"),
            ("history", "历史", "History"),
            ("geography", "地理", "Geography"),
            ("sport", "体育与健康", "Sport and health"),
            ("music", "音乐", "Music"),
            ("art", "美术", "Art"),
            ("it", "信息科技", "Information technology"),
            ("labour", "劳动", "Labour"),
            ("kindergarten", "幼儿园活动", "Kindergarten activity"),
            ("other", "其他", "Other"),
        ),
        *choices(
            "grade",
            ("k", "幼儿园", "Kindergarten"),
            *((str(n), f"{name}年级", f"Grade {n}") for n, name in enumerate(GRADES, start=1)),
            ("senior", "高中", "Senior"),
        ),
        *choices(
            "overall",
            ("good", "良好", "Good", 3),
            ("fair", "一般", "Fair", 2),
            ("poor", "较差", "Poor", 1),
        ),
    ],
)
