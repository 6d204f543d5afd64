"""What hand-written notices write into the audit log: their part of the closed registry."""

from django.utils.translation import gettext_lazy as _

from server.core.audit import audit_action

NOTICE_SENT = audit_action("notice.sent", _("发出通知"))
NOTICE_SCHEDULED = audit_action("notice.scheduled", _("定时发送通知"))
NOTICE_CHANGED = audit_action("notice.changed", _("更改待发通知"))
NOTICE_CANCELLED = audit_action("notice.cancelled", _("取消待发通知"))
NOTICE_CORRECTED = audit_action("notice.corrected", _("更正通知"))
NOTICE_RECALLED = audit_action("notice.recalled", _("撤回通知"))
NOTICE_REMINDED = audit_action("notice.reminded", _("提醒未完成的人员"))
RECEIPTS_EXPORTED = audit_action("notice.receipts_exported", _("导出回执"))
LIST_SAVED = audit_action("audience.saved", _("保存常用范围"))
LIST_DELETED = audit_action("audience.deleted", _("删除常用范围"))
