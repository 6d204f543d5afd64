"""What care writes into the audit log: its part of the closed registry (docs/care.md lists it)."""

from django.utils.translation import gettext_lazy as _

from server.core.audit import audit_action

ORIGINAL_OPENED = audit_action("media.original_opened", _("查看原图"))
ORIGINAL_EXPORTED = audit_action("media.original_exported", _("导出原图"))
GRANT_GIVEN = audit_action("grant.given", _("授权查看原图"))
GRANT_ENDED = audit_action("grant.ended", _("收回原图授权"))
RETENTION_CHANGED = audit_action("retention.changed", _("更改保存期限"))
HOLD_SET = audit_action("hold.set", _("设置保全"))
HOLD_LIFTED = audit_action("hold.lifted", _("解除保全"))
DELETION_ANNOUNCED = audit_action("deletion.announced", _("列入待删除"))
DELETION_REQUESTED = audit_action("deletion.requested", _("申请删除"))
DELETION_HASTENED = audit_action("deletion.hastened", _("决定立即删除"))
DELETION_KEPT = audit_action("deletion.kept", _("保留，不删除"))
DELETION_STARTED = audit_action("deletion.started", _("开始删除"))
MEDIA_DELETED = audit_action("media.deleted", _("已从存储中删除"))
EXPORT_REQUESTED = audit_action("export.requested", _("申请导出"))
EXPORT_OPENED = audit_action("export.opened", _("下载导出文件"))
EXPORT_EXPIRED = audit_action("export.expired", _("导出文件过期删除"))
LOG_EXPORTED = audit_action("log.exported", _("导出操作日志"))
