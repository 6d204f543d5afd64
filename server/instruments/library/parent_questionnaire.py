"""家长问卷: what parents say, without their name, a device id or the times at which they answer."""

from __future__ import annotations

from server.instruments.library.sheets import Row, Workbook, ask, choices, group

SATISFACTION = (
    ("overall", "您对学校的总体工作", "The school as a whole"),
    ("teaching", "您对教师的教学水平", "Teaching"),
    ("ethics", "您对教师的师德表现", "Teachers' conduct"),
    ("safety", "您对校园安全管理", "Safety at school"),
    ("canteen", "您对学校食堂和饮水", "Canteen and drinking water"),
    ("after_class", "您对课后服务", "After-class service"),
    ("sport", "您对学校体育活动的安排", "Sport at school"),
    ("contact", "您对家校沟通", "Contact between home and school"),
    ("fees", "您对学校收费的规范和公开", "Fees, lawful and open"),
)


def _about() -> list[Row]:
    return [
        ask("select_one stage", "stage", ("您的孩子就读于", "Your child attends"), required=True),
        ask(
            "integer",
            "grade",
            ("孩子所在年级", "Grade"),
            relevant="${stage} != 'kindergarten'",
            constraint=". >= 1 and . <= 12",
            message=("请填 1 到 12，七年级填 7，高一填 10", "1 to 12"),
        ),
        ask(
            "select_one yes_no", "boarder", ("孩子是否住校", "Does your child board"), required=True
        ),
    ]


def _daily_life() -> list[Row]:
    pupil = "${stage} != 'kindergarten'"
    return [
        ask(
            "integer",
            "homework_minutes",
            ("孩子每天完成书面作业大约需要多少分钟", "Minutes of written homework a day"),
            relevant=pupil,
            required=True,
            constraint=". >= 0 and . <= 600",
            message=("应在 0 到 600 之间", "Between 0 and 600"),
        ),
        ask(
            "decimal",
            "sleep_hours",
            ("孩子每天大约睡几个小时", "Hours of sleep a day"),
            required=True,
            constraint=". >= 3 and . <= 16",
            message=("应在 3 到 16 之间", "Between 3 and 16"),
        ),
        ask(
            "select_one yes_no_unsure",
            "phones",
            ("学校是否禁止手机带入课堂", "Are phones kept out of class"),
            required=True,
        ),
        ask(
            "select_one yes_no_unsure",
            "one_hour_sport",
            ("孩子在校每天是否有 1 小时体育活动", "One hour of sport a day"),
            required=True,
        ),
        ask(
            "select_one yes_no_unsure",
            "paid_tutoring",
            ("学校教师是否有有偿补课行为", "Do teachers give paid lessons"),
            required=True,
        ),
        ask(
            "select_one yes_no_unsure",
            "bullying",
            ("您是否听说学校发生过欺凌现象", "Have you heard of bullying"),
            required=True,
        ),
    ]


WORKBOOK = Workbook(
    form_id="parent_questionnaire",
    title="家长问卷",
    survey=[
        ask(
            "note",
            "welcome",
            (
                "尊敬的家长：本问卷不记名，只用于改进学校工作，大约需要 3 分钟。",
                "Dear parents: this questionnaire is anonymous, serves only to improve the school and takes about three minutes.",
            ),
        ),
        *group("about", ("一、孩子的情况", "1. Your child"), _about()),
        *group(
            "satisfaction",
            ("二、您的满意程度", "2. How satisfied are you"),
            [
                ask("select_one likert", f"like_{name}", (zh, en), required=True)
                for name, zh, en in SATISFACTION
            ],
        ),
        *group("life", ("三、在校学习生活", "3. Daily life"), _daily_life()),
        ask(
            "select_multiple wish",
            "wishes",
            (
                "您希望学校在哪些方面改进（最多选 3 项）",
                "What should the school improve (at most 3)",
            ),
            constraint="count-selected(.) <= 3",
            message=("最多选 3 项", "At most 3"),
        ),
        ask("text", "words", ("您还有什么意见和建议", "Anything else"), appearance="multiline"),
    ],
    choices=[
        *choices(
            "stage",
            ("kindergarten", "幼儿园", "Kindergarten"),
            ("primary", "小学", "Primary school"),
            ("junior", "初中", "Junior school"),
            ("senior", "高中（中职）", "Senior or vocational school"),
        ),
        *choices("yes_no", ("yes", "是", "Yes"), ("no", "否", "No")),
        *choices(
            "yes_no_unsure",
            ("yes", "是", "Yes"),
            ("no", "否", "No"),
            ("unsure", "不清楚", "Not sure"),
        ),
        *choices(
            "likert",
            ("5", "非常满意", "Very satisfied", 5),
            ("4", "满意", "Satisfied", 4),
            ("3", "一般", "Neutral", 3),
            ("2", "不满意", "Dissatisfied", 2),
            ("1", "非常不满意", "Very dissatisfied", 1),
        ),
        *choices(
            "wish",
            ("teaching", "课堂教学", "Teaching"),
            ("homework", "作业管理", "Homework"),
            ("safety", "校园安全", "Safety"),
            ("food", "食堂饮食", "Food"),
            ("sport", "体育锻炼", "Sport"),
            ("contact", "家校沟通", "Contact with parents"),
            ("after_class", "课后服务", "After-class service"),
            ("none", "没有", "Nothing"),
        ),
    ],
)
