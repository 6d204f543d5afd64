"""The closed catalogue of events that go outside: their types, each with the schema of its payload.

A type ends in its version. Fields are only ever added; what would change or take one away is a new
version, beside the old one. No event carries an answer, a remark, a photo, a position, a pupil or any
person: what people write in the field stays inside, and who needs it asks the API by the ids.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext_lazy as _

from server.activities.models import Activity, Visit
from server.core.errors import Text
from server.findings.models import Finding

Schema = dict[str, Any]

TEST = "endpoint.test.v1"


@dataclass(frozen=True)
class EventType:
    """`data`: the JSON Schema (2020-12) of the envelope's `data`."""

    name: str
    words: Text
    data: Schema


def schema_of(event: EventType) -> Schema:
    """The JSON Schema of the whole body that is sent."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": event.name,
        **_object(
            id=_uuid("The same in every repetition: keep it, to know an event that came before."),
            type={"const": event.name},
            timestamp=_time("When it happened."),
            data=event.data,
        ),
    }


def event_types() -> Mapping[str, EventType]:
    """Every type that an endpoint can choose, by name."""
    return _types


def _object(**properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _nullable(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _text(description: str = "") -> Schema:
    return {"type": "string", **({"description": description} if description else {})}


def _uuid(description: str = "") -> Schema:
    return {**_text(description), "format": "uuid"}


def _time(description: str = "") -> Schema:
    return {**_text(description), "format": "date-time"}


def _one_of(values: list[str]) -> Schema:
    return {"enum": values}


_AREA = _object(code=_text("行政区划代码"), name=_text())
_SCHOOL = _object(id=_uuid(), code=_text("学校标识码"), name=_text(), area=_AREA)
_ACTIVITY = _object(id=_uuid(), title=_text(), kind=_one_of(list(Activity.Kind.values)))
_VISIT = _object(
    visit=_object(
        id=_uuid(),
        state=_one_of(list(Visit.State.values)),
        announced={"type": "boolean"},
        checked_in_at=_nullable(_time()),
        completed_at=_nullable(_time()),
        reviewed_at=_nullable(_time()),
    ),
    activity=_ACTIVITY,
    school=_SCHOOL,
)
_SUBMISSION = _object(
    submission=_object(
        id=_uuid(),
        form_id=_text(),
        version=_text(),
        replaces=_nullable(_uuid("The record that this one edits.")),
        received_at=_time(),
    ),
    visit_id=_uuid(),
    activity_id=_uuid(),
    school=_SCHOOL,
)
_FINDING = _object(
    finding=_object(
        id=_uuid(),
        state=_one_of(list(Finding.State.values)),
        severity=_one_of(list(Finding.Severity.values)),
        item=_nullable(_text("The form's question; null where a person entered the finding.")),
        title=_nullable(_text("The form's words; null where a person wrote them.")),
        due_on={**_text(), "format": "date"},
        closed_at=_nullable(_time()),
    ),
    visit_id=_nullable(_uuid()),
    activity_id=_nullable(_uuid()),
    school=_SCHOOL,
)
_NOTICE = _object(
    notice=_object(
        id=_uuid(),
        event=_text("What it tells of, such as finding.overdue or announcement."),
        title=_nullable(_text("Of an announcement.")),
        requires_ack={"type": "boolean"},
        created_at=_time(),
    ),
    subject=_nullable(_object(type=_text(), id=_uuid())),
    school=_nullable(_SCHOOL),
)

_types: dict[str, EventType] = {
    name: EventType(name, words, data)
    for name, words, data in (
        ("visit.planned.v1", _("入校任务已安排（事先通知的）"), _VISIT),
        ("visit.checked_in.v1", _("督学已到校签到"), _VISIT),
        ("visit.completed.v1", _("入校任务已完成"), _VISIT),
        ("visit.returned.v1", _("入校任务被退回"), _VISIT),
        ("visit.reviewed.v1", _("入校任务已审核"), _VISIT),
        ("submission.accepted.v1", _("填报已收到"), _SUBMISSION),
        ("finding.opened.v1", _("问题已提出"), _FINDING),
        ("finding.answered.v1", _("学校已提交整改"), _FINDING),
        ("finding.returned.v1", _("整改被退回"), _FINDING),
        ("finding.closed.v1", _("问题已销号"), _FINDING),
        ("finding.postponed.v1", _("整改期限已调整"), _FINDING),
        ("finding.withdrawn.v1", _("问题已撤销"), _FINDING),
        ("finding.reopened.v1", _("问题被重新打开"), _FINDING),
        ("notice.sent.v1", _("通知已发出"), _NOTICE),
    )
}
TEST_EVENT = EventType(TEST, _("测试事件"), _object(message=_text()))
