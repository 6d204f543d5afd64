"""What webhooks write into the audit log: their part of the closed registry."""

from django.utils.translation import gettext_lazy as _

from server.core.audit import audit_action

CREATED = audit_action("webhook.created", _("新建外发推送"))
CHANGED = audit_action("webhook.changed", _("更改外发推送"))
DELETED = audit_action("webhook.deleted", _("删除外发推送"))
SECRET_ROTATED = audit_action("webhook.secret_rotated", _("更换外发推送密钥"))
TAKEN_OVER = audit_action("webhook.taken_over", _("接管外发推送"))
STOPPED = audit_action("webhook.stopped", _("外发推送已停止"))
TESTED = audit_action("webhook.tested", _("发送测试事件"))
REDELIVERED = audit_action("webhook.redelivered", _("重新推送"))
