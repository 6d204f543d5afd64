"""What a new county's escalation rules are, until its office writes its own. Data alone."""

from __future__ import annotations

from typing import Any

DEFAULT_RULES: tuple[dict[str, Any], ...] = (
    {
        "name": "需要确认的通知 1 个工作日未确认",
        "event": "*",
        "condition": "unacknowledged",
        "after": 24,
        "counting": "workdays",
        "targets": ["deputies", "inspector", "town_group"],
        "repeat_after": 24,
        "at_most": 3,
    },
    {
        "name": "整改被退回，1 个工作日未读",
        "event": "finding.returned",
        "condition": "unread",
        "after": 24,
        "counting": "workdays",
        "targets": ["deputies", "inspector"],
        "repeat_after": 24,
        "at_most": 2,
    },
    {
        "name": "新任务 1 个工作日未读",
        "event": "visit.assigned",
        "condition": "unread",
        "after": 24,
        "counting": "workdays",
        "targets": ["town_group", "office"],
        "repeat_after": 24,
        "at_most": 2,
    },
    {
        "name": "整改逾期 3 个工作日",
        "event": "finding.overdue",
        "condition": "overdue",
        "after": 3,
        "counting": "workdays",
        "targets": ["inspector", "town_group", "office"],
        "repeat_after": 3,
        "at_most": 5,
    },
    {
        "name": "督导逾期 2 个工作日",
        "event": "visit.overdue",
        "condition": "overdue",
        "after": 2,
        "counting": "workdays",
        "targets": ["town_group", "office"],
        "repeat_after": 3,
        "at_most": 3,
    },
)
