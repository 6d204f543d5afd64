"""What conversations write into the audit log: their part of the closed registry.

No entry holds a message's text: what was deleted must not live on in a log that only grows.
"""

from django.utils.translation import gettext_lazy as _

from server.core.audit import audit_action

OPENED = audit_action("conversation.opened", _("开始沟通"))
SENT = audit_action("message.sent", _("发送消息"))
WITHDRAWN = audit_action("message.withdrawn", _("撤回消息"))
REMOVED = audit_action("message.removed", _("移除消息"))
EXPIRED = audit_action("conversation.expired", _("消息保存期满"))
ERASED = audit_action("message.erased", _("彻底删除消息"))
EXPORTED = audit_action("conversation.exported", _("导出沟通记录"))
