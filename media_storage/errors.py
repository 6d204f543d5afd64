"""What can go wrong between a declared file and a stored one.

Conflict
└── UploadMissing      completed before all its bytes arrived          409
Invalid
└── UploadMismatch     the bytes are not those that were declared      422
Unavailable
└── StoreUnavailable   the object store does not answer                503
"""

from django.utils.translation import gettext_lazy as _

from server.core.errors import Conflict, Invalid, Unavailable


class UploadMissing(Conflict):
    code = "upload_missing"
    title = _("尚未收到完整的文件，请继续上传后再试")


class UploadMismatch(Invalid):
    code = "upload_mismatch"
    title = _("收到的内容与登记的大小或校验值不符，请重新上传")


class StoreUnavailable(Unavailable):
    code = "store_unavailable"
    title = _("文件存储暂时不可用，请稍后重试")
