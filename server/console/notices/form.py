"""The form in which an office writes a notice, and its draft."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from django import forms
from django.db.models import Q
from django.http import QueryDict
from django.utils.timezone import localtime
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from server.activities.models import Activity
from server.activities.queries import activities_visible_to
from server.console.forms import ConsoleForm, PickMany, SchoolsByTown
from server.core.ids import new_id
from server.grid.models import Area, Membership, School, User
from server.grid.queries import areas_visible_to, people_visible_to, schools_in_office_of
from server.messaging.composing import MAX_BODY, MAX_TITLE, Message
from server.messaging.models import Notice, NoticeDraft, SavedAudience
from server.messaging.queries import CONTACTS, INSPECTORS, Audience, saved_lists_of

MAX_DRAFT = 200_000
"""Characters: ten times what a notice may hold."""
DRAFT_KEYS = 60
MANY = ("areas", "schools", "stages", "roles", "activity_people", "lists", "people", "attachments")
RECENT_ACTIVITIES = 50


class MomentInput(forms.DateTimeInput):
    """The browser's own calendar and clock, in the county's time."""

    input_type = "datetime-local"

    def __init__(self, attrs: dict[str, Any] | None = None) -> None:
        super().__init__(attrs, format="%Y-%m-%dT%H:%M")


class IdsField(forms.Field):
    """Hidden ids that a script of the page adds and takes away."""

    widget = forms.MultipleHiddenInput

    def to_python(self, value: Any) -> list[UUID]:
        try:
            return [UUID(str(each)) for each in value or []]
        except ValueError:
            raise forms.ValidationError(_("内容不完整，请刷新页面后重试。")) from None


class QuestionsField(forms.CharField):
    """The questions as JSON, which a script of the page writes."""

    widget = forms.HiddenInput

    def clean(self, value: Any) -> list[dict[str, Any]]:
        text = super().clean(value)
        try:
            questions = json.loads(text) if text else []
        except ValueError:
            questions = None
        if not isinstance(questions, list) or not all(isinstance(q, dict) for q in questions):
            raise forms.ValidationError(_("内容不完整，请刷新页面后重试。"))
        return questions


class ComposeForm(ConsoleForm):
    """A notice written by hand, and whom it is for."""

    pointers = {"audience": "areas"}

    title = forms.CharField(label=gettext_lazy("标题"), max_length=MAX_TITLE)
    body = forms.CharField(
        label=gettext_lazy("正文"),
        max_length=MAX_BODY,
        widget=forms.Textarea(attrs={"rows": 10}),
    )
    attachments = IdsField(required=False)
    requires = forms.ChoiceField(
        label=gettext_lazy("接收人需要做什么"),
        choices=[
            ("", gettext_lazy("无要求")),
            ("read", gettext_lazy("阅读")),
            ("acknowledge", gettext_lazy("确认收到")),
            ("answer", gettext_lazy("填写回执")),
        ],
        required=False,
        widget=forms.RadioSelect,
    )
    questions = QuestionsField(required=False)
    urgent = forms.BooleanField(
        label=gettext_lazy("紧急"),
        required=False,
        help_text=gettext_lazy("手机立即响铃提醒，夜间也不例外"),
    )
    send_at = forms.DateTimeField(
        label=gettext_lazy("定时发送"),
        required=False,
        widget=MomentInput,
        help_text=gettext_lazy("不填即现在发送；发送时的人员以那时为准"),
    )
    open_until = forms.DateTimeField(
        label=gettext_lazy("截止时间"),
        required=False,
        widget=MomentInput,
        help_text=gettext_lazy("此后不能再填写回执；在此之前新到任的人员也会收到"),
    )
    areas = forms.ModelMultipleChoiceField(
        label=gettext_lazy("整片行政区"),
        queryset=Area.objects.none(),
        required=False,
        widget=PickMany,
    )
    schools = SchoolsByTown(
        label=gettext_lazy("学校"), queryset=School.objects.none(), required=False
    )
    activity = forms.ModelChoiceField(
        label=gettext_lazy("督导活动"), queryset=Activity.objects.none(), required=False
    )
    activity_people = forms.MultipleChoiceField(
        label=gettext_lazy("活动中的哪些人"),
        choices=[
            (CONTACTS, gettext_lazy("活动学校的联系人")),
            (INSPECTORS, gettext_lazy("活动任务的督学")),
        ],
        required=False,
        widget=PickMany,
        help_text=gettext_lazy("不选即活动学校的所有人"),
    )
    roles = forms.MultipleChoiceField(
        label=gettext_lazy("只发给这些角色"),
        choices=Membership.Role.choices,
        required=False,
        widget=PickMany,
        help_text=gettext_lazy("不选即所选范围内的所有人；只选角色即全辖区"),
    )
    stages = forms.MultipleChoiceField(
        label=gettext_lazy("只发给这些学段的学校"),
        choices=School.Stage.choices,
        required=False,
        widget=PickMany,
    )
    lists = forms.ModelMultipleChoiceField(
        label=gettext_lazy("常用范围"),
        queryset=SavedAudience.objects.none(),
        required=False,
        widget=PickMany,
    )
    people = IdsField(label=gettext_lazy("另外发给"), required=False)
    notice_id = forms.UUIDField(widget=forms.HiddenInput, initial=new_id)

    def limit_choices(self) -> None:
        schools = schools_in_office_of(self.by)
        there = Q(schools__in=schools.values("pk")) | Q(children__schools__in=schools.values("pk"))
        areas = areas_visible_to(self.by).filter(there).distinct()
        activities = activities_visible_to(self.by).order_by("-starts", "-pk")
        recent = list(activities.values_list("pk", flat=True)[:RECENT_ACTIVITIES])
        choices: dict[str, Any] = {
            "areas": areas.order_by("path"),
            "schools": schools,
            "activity": Activity.objects.filter(pk__in=recent).order_by("-starts", "-pk"),
            "lists": saved_lists_of(self.by),
        }
        for name, rows in choices.items():
            self.fields[name].queryset = rows  # type: ignore[attr-defined]

    def clean(self) -> dict[str, Any]:
        values = super().clean() or self.cleaned_data
        if not self.errors and self.audience().names_nobody:
            self.add_error("areas", _("请选择行政区、学校、角色、活动或人员。"))
        return values

    def audience(self) -> Audience:
        """As far as it can be read."""
        values = self.cleaned_data
        activity = values.get("activity")
        return Audience(
            areas=[area.pk for area in values.get("areas", ())],
            schools=[school.pk for school in values.get("schools", ())],
            roles=values.get("roles", ()),
            stages=values.get("stages", ()),
            people=values.get("people", ()),
            activities=[activity.pk] if activity else [],
            activity_people=values.get("activity_people", ()) if activity else (),
            lists=[each.pk for each in values.get("lists", ())],
        )

    def message(self) -> Message:
        values = self.cleaned_data
        asks = values["requires"] == Notice.Requires.ANSWER
        return Message(
            title=values["title"],
            body=values["body"],
            audience=self.audience(),
            requires=values["requires"],
            urgent=values["urgent"],
            attachments=values["attachments"],
            questions=values["questions"] if asks else (),
            send_at=values["send_at"],
            open_until=values["open_until"],
        )

    @property
    def chosen_people(self) -> list[User]:
        """Whom the page shows as chosen by name."""
        ids = self["people"].value() or []
        try:
            keys = [UUID(str(each)) for each in ids]
        except ValueError:
            return []
        return list(people_visible_to(self.by).filter(pk__in=keys))


class CorrectForm(ConsoleForm):
    """A new version of a sent notice's text."""

    title = forms.CharField(label=gettext_lazy("标题"), max_length=MAX_TITLE)
    body = forms.CharField(
        label=gettext_lazy("正文"),
        max_length=MAX_BODY,
        widget=forms.Textarea(attrs={"rows": 10}),
    )
    attachments = IdsField(required=False)
    note = forms.CharField(
        label=gettext_lazy("更正说明"),
        required=False,
        max_length=200,
        help_text=gettext_lazy("接收人会看到，例如“时间由周五改为周四”"),
    )
    ask_again = forms.BooleanField(
        label=gettext_lazy("请已确认或已填写的人重新确认、填写"), required=False
    )
    version = forms.IntegerField(widget=forms.HiddenInput)
    correction_id = forms.UUIDField(widget=forms.HiddenInput, initial=new_id)


# ---- drafts -----------------------------------------------------------------------------------


class DraftTooLong(Exception):
    """More than anybody writes."""


def save_draft(*, draft_id: UUID, by: User, fields: QueryDict) -> bool:
    """Keep what the form holds now, as it is. False: the id is another's, or was sent already.

    Raises DraftTooLong.
    """
    kept = {
        name: values
        for name, values in fields.lists()
        if name not in ("csrfmiddlewaretoken", "notice_id")
    }
    if len(kept) > DRAFT_KEYS or len(json.dumps(kept, ensure_ascii=False)) > MAX_DRAFT:
        raise DraftTooLong
    if Notice.objects.filter(pk=draft_id).exists():
        return False
    draft, created = NoticeDraft.objects.get_or_create(
        id=draft_id, defaults={"owner": by, "fields": kept}
    )
    if draft.owner_id != by.pk:
        return False
    if not created and draft.fields != kept:
        draft.fields = kept
        draft.save(update_fields=["fields", "updated_at"])
    return True


def initial_of_draft(draft: NoticeDraft) -> dict[str, Any]:
    """What the form shows of a draft."""
    told: dict[str, Any] = {"notice_id": draft.pk}
    for name, values in draft.fields.items():
        told[name] = values if name in MANY else (values[0] if values else "")
    return told


def initial_of_notice(notice: Notice) -> dict[str, Any]:
    """What the form shows of a notice that is still to be sent."""
    audience: Mapping[str, Sequence[str]] = notice.audience or {}
    activities = audience.get("activities") or [""]
    return {
        "notice_id": notice.pk,
        "title": notice.params["title"],
        "body": notice.params["body"],
        "requires": notice.requires,
        "questions": json.dumps(notice.form or [], ensure_ascii=False),
        "urgent": notice.urgent,
        "send_at": _local(notice.send_at),
        "open_until": _local(notice.open_until),
        "activity": activities[0],
        "attachments": [
            str(pk)
            for pk in notice.attachments.filter(removed_at=None).values_list("media", flat=True)
        ],
        **{name: audience.get(name, []) for name in MANY if name != "attachments"},
    }


def _local(moment: datetime | None) -> datetime | None:
    return localtime(moment) if moment else None
