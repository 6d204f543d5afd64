"""The closed catalogue of what people are told about: keys, texts, and the parameters they take.

The texts are the product's own; an office words them differently for its area (server.messaging.wording).
`who` and `when` are for the catalogue's page and for docs/notices-catalogue.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

Text = str | Promise


@dataclass(frozen=True, kw_only=True)
class EventKind:
    """One kind of event. `title` and `body` are %-templates over exactly `params`.

    `who` is told, and `when`. `urgent`: a push may wake the phone. `requires_ack`: the reader must
    confirm, unless the caller says otherwise. `required`: the law asks for it, so that no office can
    switch it off. `by_hand`: the text is the sender's, and nobody words it otherwise. `lives`: for how
    long a message is worth sending (None: DELIVERY_HOURS).
    """

    key: str
    title: Text
    body: Text
    params: frozenset[str]
    who: Text = ""
    when: Text = ""
    urgent: bool = False
    requires_ack: bool = False
    required: bool = False
    by_hand: bool = False
    lives: timedelta | None = None

    def check(self, params: Mapping[str, str]) -> None:
        """Raises TypeError for a missing or unknown parameter, or one that is not text."""
        if params.keys() != self.params:
            wrong = ", ".join(sorted(self.params ^ params.keys()))
            raise TypeError(f"{self.key} takes {sorted(self.params)}; wrong: {wrong}")
        for name, value in params.items():
            if not isinstance(value, str):
                raise TypeError(f"{self.key}: {name} must be str, not {type(value).__name__}")


_catalogue: dict[str, EventKind] = {}


def _event(
    key: str,
    params: str,
    title: Text,
    body: Text,
    *,
    who: Text,
    when: Text,
    urgent: bool = False,
    requires_ack: bool = False,
    required: bool = False,
    by_hand: bool = False,
    lives: timedelta | None = None,
) -> None:
    _catalogue[key] = EventKind(
        key=key,
        title=title,
        body=body,
        params=frozenset(params.split()),
        who=who,
        when=when,
        urgent=urgent,
        requires_ack=requires_ack,
        required=required,
        by_hand=by_hand,
        lives=lives,
    )


def event_kind(key: str) -> EventKind:
    """Raises KeyError for what is not in the catalogue."""
    return _catalogue[key]


def event_kinds() -> list[EventKind]:
    """Every kind, in the order of this file."""
    return list(_catalogue.values())


# Parameters are names and sentences as people read them; days are ISO dates, moments local time.
# school: filled in by notify from its `school`. activity: its title.
# inspector: the person's name. finding: what is wrong, in short.

_TEAM = pgettext_lazy("told", "本任务的督学")
_SCHOOL = pgettext_lazy("told", "学校联系人")
_INSPECTORS = pgettext_lazy("told", "责任督学")
_BOTH = pgettext_lazy("told", "学校联系人和责任督学")
_OFFICE = pgettext_lazy("told", "组织活动的督导办或督导组")
_NEXT = pgettext_lazy("told", "催办规则中的下一级")

# ---- visits ---------------------------------------------------------------------------------

_event(
    "visit.assigned",
    "school activity starts ends",
    _("新的入校督导任务：%(school)s"),
    _("“%(activity)s”安排您于 %(starts)s 至 %(ends)s 到 %(school)s 督导。"),
    who=_TEAM,
    when=_("活动发布，或后来加入任务"),
)
_event(  # the written notice of order 624, art. 17
    "visit.announced",
    "school activity starts ends",
    _("督导通知：%(activity)s"),
    _("“%(activity)s”将于 %(starts)s 至 %(ends)s 到 %(school)s 督导，请做好准备并确认收到。"),
    who=_SCHOOL,
    when=_("发布提前通知学校的活动（《教育督导条例》第十七条）"),
    requires_ack=True,
    required=True,
)
_event(
    "visit.moved",
    "school activity starts ends reason",
    _("督导时间调整：%(school)s"),
    _("“%(activity)s”在 %(school)s 的督导改为 %(starts)s 至 %(ends)s。原因：%(reason)s"),
    who=pgettext_lazy("told", "本任务的督学；提前通知的活动还有学校联系人"),
    when=_("已发布活动的日期调整，任务尚未完成"),
    urgent=True,
)
_event(
    "visit.unassigned",
    "school activity",
    _("任务已改派：%(school)s"),
    _("“%(activity)s”在 %(school)s 的督导已改派他人，您不必前往。"),
    who=pgettext_lazy("told", "不再参加任务的督学"),
    when=_("任务改派"),
    urgent=True,
)
_event(
    "visit.team_changed",
    "school activity inspector",
    _("督学调整：%(school)s"),
    _("“%(activity)s”到 %(school)s 督导的督学调整为：%(inspector)s。"),
    who=pgettext_lazy("told", "学校联系人（已知此任务的）"),
    when=_("任务改派"),
)
_event(
    "visit.cancelled",
    "school activity",
    _("督导取消：%(school)s"),
    _("“%(activity)s”已结束，%(school)s 的督导不再进行。"),
    who=pgettext_lazy("told", "本任务的督学；提前通知的活动还有学校联系人"),
    when=_("活动结束时任务仍未入校"),
    urgent=True,
)
_event(
    "visit.checked_in",
    "school activity inspector",
    _("督学已到校：%(school)s"),
    _("%(inspector)s 已到 %(school)s，开始“%(activity)s”督导。"),
    who=_SCHOOL,
    when=_("提前通知的督导签到"),
    lives=timedelta(hours=12),
)
_event(  # the first that the school hears of it
    "visit.checked_in_unannounced",
    "school activity inspector",
    _("督学已到校（未预先通知）：%(school)s"),
    _("%(inspector)s 已到 %(school)s，开始“%(activity)s”督导。本次督导未预先通知，请予配合。"),
    who=_SCHOOL,
    when=_("“四不两直”督导签到，此前学校不知道"),
    urgent=True,
    lives=timedelta(hours=12),
)
_event(
    "visit.completed",
    "school activity inspector",
    _("督导已完成，请审核：%(school)s"),
    _("%(inspector)s 已完成“%(activity)s”在 %(school)s 的督导，请审核。"),
    who=_OFFICE,
    when=_("督学完成任务"),
)
_event(
    "visit.returned",
    "school activity reason",
    _("任务被退回：%(school)s"),
    _("“%(activity)s”在 %(school)s 的督导被退回：%(reason)s"),
    who=_TEAM,
    when=_("督导办退回任务"),
    urgent=True,
)
_event(
    "visit.reviewed",
    "school activity",
    _("任务已审核：%(school)s"),
    _("“%(activity)s”在 %(school)s 的督导已通过审核。"),
    who=_TEAM,
    when=_("督导办审核通过"),
)
_event(
    "visit.due_soon",
    "school activity ends",
    _("督导将到期：%(school)s"),
    _("“%(activity)s”在 %(school)s 的督导应于 %(ends)s 前完成，目前尚未完成。"),
    who=_TEAM,
    when=_("活动结束前 1 个工作日的早上，任务尚未完成"),
)
_event(
    "visit.overdue",
    "school activity ends",
    _("督导已逾期：%(school)s"),
    _("“%(activity)s”在 %(school)s 的督导应于 %(ends)s 前完成，现已逾期。"),
    who=_TEAM,
    when=_("活动结束后第一个工作日的早上，任务尚未完成"),
    urgent=True,
)
_event(  # count: visits that are not done
    "activity.overdue",
    "activity ends count",
    _("活动已到期，任务未完成：%(activity)s"),
    _("“%(activity)s”应于 %(ends)s 前完成，还有 %(count)s 个任务未完成。"),
    who=_OFFICE,
    when=_("活动结束后第一个工作日的早上，还有任务未完成"),
)
_event(
    "submission.incomplete",
    "school activity count",
    _("还有材料未上传：%(school)s"),
    _(
        "您在“%(activity)s”（%(school)s）的填报还缺 %(count)s 份材料，请在有网络的地方打开手机应用上传。"
    ),
    who=pgettext_lazy("told", "填报人"),
    when=_("填报到达 24 小时后仍缺照片或文件，次日早上"),
)

# ---- findings -------------------------------------------------------------------------------

_event(
    "finding.opened",
    "school finding due",
    _("发现问题，请整改：%(finding)s"),
    _("%(school)s：%(finding)s。请于 %(due)s 前完成整改并提交材料。"),
    who=_SCHOOL,
    when=_("提出问题（《教育督导条例》第二十一条）"),
    urgent=True,
    requires_ack=True,
    required=True,
)
_event(
    "finding.due_soon",
    "school finding due days",
    _("整改期限将至：%(finding)s"),
    _("%(school)s 的“%(finding)s”应于 %(due)s 前整改，还有 %(days)s 个工作日。"),
    who=_SCHOOL,
    when=_("整改期限前 3 个和 1 个工作日的早上，学校尚未提交"),
)
_event(
    "finding.overdue",
    "school finding due",
    _("整改已逾期：%(finding)s"),
    _("%(school)s 的“%(finding)s”应于 %(due)s 前整改，现已逾期。"),
    who=_BOTH,
    when=_("整改期限已过的早上，学校尚未提交"),
    urgent=True,
)
_event(
    "finding.answered",
    "school finding",
    _("学校已提交整改：%(school)s"),
    _("%(school)s 已就“%(finding)s”提交整改，请核查。"),
    who=_INSPECTORS,
    when=_("学校提交整改"),
)
_event(
    "finding.returned",
    "school finding reason due",
    _("整改被退回：%(finding)s"),
    _("%(school)s 关于“%(finding)s”的整改被退回：%(reason)s。请于 %(due)s 前重新提交。"),
    who=_SCHOOL,
    when=_("整改被退回，或已销号的问题重新打开"),
    urgent=True,
)
_event(
    "finding.closed",
    "school finding",
    _("问题已销号：%(finding)s"),
    _("%(school)s 的“%(finding)s”已核查通过并销号。"),
    who=_BOTH,
    when=_("核查通过并销号（《教育督导条例》第二十二条）"),
)
_event(
    "finding.postponed",
    "school finding due",
    _("整改期限已调整：%(finding)s"),
    _("%(school)s 的“%(finding)s”整改期限调整为 %(due)s。"),
    who=_BOTH,
    when=_("调整整改期限"),
)
_event(
    "finding.withdrawn",
    "school finding reason",
    _("问题已撤销：%(finding)s"),
    _("%(school)s 的“%(finding)s”已撤销：%(reason)s"),
    who=_BOTH,
    when=_("撤销问题"),
)

# ---- escalation -------------------------------------------------------------------------------
# what: the title of what waits. since: when it was sent, or when it was due. waiting: with whom.

_event(
    "escalation.unread",
    "school what since waiting",
    _("通知未读，请督促：%(school)s"),
    _("%(since)s 发出的“%(what)s”至今未读。尚未阅读：%(waiting)s。"),
    who=_NEXT,
    when=_("通知在规则的时限内无人阅读"),
)
_event(
    "escalation.unacknowledged",
    "school what since waiting",
    _("通知未确认，请督促：%(school)s"),
    _("%(since)s 发出的“%(what)s”至今未确认。尚未确认：%(waiting)s。"),
    who=_NEXT,
    when=_("需要确认的通知在规则的时限内无人确认"),
)
_event(
    "escalation.overdue",
    "school what since waiting",
    _("逾期未办，请督促：%(school)s"),
    _("“%(what)s”应于 %(since)s 前办结，至今未办。待办：%(waiting)s。"),
    who=_NEXT,
    when=_("逾期超过规则的天数仍未办"),
    urgent=True,
)

# ---- conversations ----------------------------------------------------------------------------
# title: what the conversation is about. No text of a message: it must be able to go.

_event(
    "conversation.mentioned",
    "school title sender",
    _("%(sender)s 提到了您：%(title)s"),
    _("%(sender)s 在“%(title)s”（%(school)s）的沟通中提到了您，请查看。"),
    who=pgettext_lazy("told", "被提到的人"),
    when=_("有人在沟通中提到他们"),
)
_event(  # at most one unread for a conversation
    "conversation.message",
    "school title sender",
    _("新消息：%(title)s"),
    _("“%(title)s”（%(school)s）有未读消息，最近一条来自 %(sender)s。"),
    who=pgettext_lazy("told", "参与沟通而一时没有阅读的人"),
    when=_("沟通中的消息一段时间没有阅读"),
)

# ---- care for what photos show ----------------------------------------------------------------

_event(  # count: files, day: the first of the deletion
    "media.deletion_due",
    "activity count day",
    _("佐证材料保存期满：%(activity)s"),
    _(
        "“%(activity)s”有 %(count)s 份佐证材料保存期满，将于 %(day)s 起删除。如需保留，请在此之前处理。"
    ),
    who=_OFFICE,
    when=_("佐证材料的保存期将满"),
)
_event(
    "export.ready",
    "activity count day",
    _("导出已完成：%(activity)s"),
    _("“%(activity)s”的 %(count)s 份佐证材料已打包，请于 %(day)s 前下载。"),
    who=pgettext_lazy("told", "申请导出的人"),
    when=_("打包完成"),
)
_event(
    "export.failed",
    "activity",
    _("导出未完成：%(activity)s"),
    _("“%(activity)s”的佐证材料多次尝试未能打包，请稍后重新导出。"),
    who=pgettext_lazy("told", "申请导出的人"),
    when=_("多次尝试后仍不能打包"),
)

# ---- outgoing webhooks ----------------------------------------------------------------------

_event(  # webhook: its description or address
    "webhook.stopped",
    "webhook office reason",
    _("外发推送已停止：%(webhook)s"),
    _("%(office)s 的外发推送“%(webhook)s”已停止：%(reason)s"),
    who=pgettext_lazy("told", "设置外发推送的督导办"),
    when=_("外发推送长时间失败，或接收方要求停止"),
    urgent=True,
)

# ---- written by hand ------------------------------------------------------------------------

_event(
    "announcement",
    "title body",
    "%(title)s",
    "%(body)s",
    who=pgettext_lazy("told", "写通知的人所选的范围"),
    when=_("督导办或督导组写通知"),
    by_hand=True,
)
_event(
    "announcement.reminder",
    "title",
    _("提醒：%(title)s"),
    _("“%(title)s”还在等您处理，请打开原通知，按要求阅读、确认或填写回执。"),
    who=pgettext_lazy("told", "还没有按要求处理原通知的人"),
    when=_("督导办或督导组催办一份通知"),
)
