"""Media objects and their renditions: what lies in the store, what is known about it, how far it is."""

from __future__ import annotations

import secrets
from pathlib import PurePosixPath

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from server.core import clock
from server.core.ids import new_id
from server.core.work import Work, due_index

_DELETED = _("文件已按规定删除，只保留记录")


def new_key() -> str:
    """A key in the store that cannot be guessed and tells nothing. The day spreads folders."""
    return f"{clock.now():%Y%m/%d}/{secrets.token_hex(16)}"


def extension_of(content_type: str) -> str:
    """Of a picture that we made ourselves."""
    return {"image/jpeg": ".jpg", "image/webp": ".webp", "image/png": ".png"}[content_type]


class MediaObject(Work):
    """A file that belongs to somebody's work: declared first, uploaded, verified, then processed.

    `taken_at` and the position are what the phone says; `width` and `height` are as displayed, after
    orientation. `upload_id` names the store's half-done multipart upload; `upload_fault` says in what
    the bytes of the last try were not the declared ones. `lost_at`: since when the store lacks bytes
    that it had.
    """

    class State(models.TextChoices):
        DECLARED = "declared", _("待上传")
        ARRIVED = "arrived", _("已到达，核对中")
        STORED = "stored", _("已收到")
        PROCESSING = "processing", _("处理中")
        READY = "ready", _("可用")
        REJECTED = "rejected", _("已拒绝")
        DELETED = "deleted", _("已删除")

    class Rejection(models.TextChoices):
        EMPTY = "empty", _("文件是空的，请重新拍摄或选择文件")
        UNSUPPORTED = (
            "unsupported_type",
            _("不支持这种类型的文件，请换成照片、PDF、音视频或 Office 文件"),
        )
        TYPE_MISMATCH = "type_mismatch", _("文件内容与声明的类型不符，请检查文件")
        MIXED_TYPES = (
            "mixed_types",
            _("文件里夹带了另一种文件（网页、压缩包等），请重新拍摄或另存后上传"),
        )
        BROKEN = "broken", _("文件已损坏，无法打开，请重新拍摄或选择文件")
        TOO_MANY_PIXELS = "too_many_pixels", _("图片的像素过多，请缩小后重新上传")
        TOO_LARGE = "too_large", _("文件超过大小限制，请压缩后重新上传")
        UNPACKS_TOO_LARGE = (
            "unpacks_too_large",
            _("文件解压后过大，请删去不需要的内容后重新上传"),
        )
        TOO_SLOW = "too_slow", _("处理这个文件用时过长，请换成较小的文件重新上传")
        TOO_MUCH_MEMORY = "too_much_memory", _("处理这个文件占用内存过多，请缩小后重新上传")
        CRASHED = "crashed", _("文件使解码程序异常退出，请重新拍摄或另存后上传")

    class Origin(models.TextChoices):
        UNKNOWN = "", _("未说明")
        CAMERA = "camera", _("现场拍摄")
        GALLERY = "gallery", _("从相册选取")

    class Note(models.TextChoices):
        NO_TOOL = "no_tool", _("服务器没有安装音视频工具（ffmpeg），没有时长和封面")
        NO_PREVIEW = "no_preview", _("无法生成预览图，请下载原文件查看")
        LOCKED = "locked", _("文件有密码，没有预览图和页数")

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="media",
        verbose_name=_("上传人"),
    )
    filename = models.CharField(_("文件名"), max_length=255)
    content_type = models.CharField(_("类型"), max_length=100)
    size = models.BigIntegerField(_("大小（字节）"))
    sha256 = models.CharField("SHA-256", max_length=64)
    key = models.CharField(max_length=160, unique=True, default=new_key, editable=False)
    upload_id = models.TextField(blank=True, default="", editable=False)
    upload_fault = models.CharField(
        max_length=8, blank=True, db_default="", default="", editable=False
    )
    state = models.CharField(_("状态"), max_length=10, choices=State, default=State.DECLARED)
    reject_code = models.CharField(
        _("拒绝原因"), max_length=24, choices=Rejection, blank=True, default=""
    )
    note_code = models.CharField(_("说明"), max_length=24, choices=Note, blank=True, default="")
    origin = models.CharField(
        _("来源（手机）"), max_length=8, choices=Origin, blank=True, default=""
    )
    taken_at = models.DateTimeField(_("拍摄时间（手机）"), null=True, blank=True)
    latitude = models.FloatField(_("纬度（手机）"), null=True, blank=True)
    longitude = models.FloatField(_("经度（手机）"), null=True, blank=True)
    accuracy_m = models.FloatField(_("定位精度（米）"), null=True, blank=True)
    width = models.PositiveIntegerField(_("宽"), null=True, blank=True)
    height = models.PositiveIntegerField(_("高"), null=True, blank=True)
    created_at = models.DateTimeField(_("登记时间"), db_default=Now(), editable=False)
    stored_at = models.DateTimeField(_("收到时间"), null=True, blank=True, editable=False)
    lost_at = models.DateTimeField(_("发现文件缺失"), null=True, blank=True, editable=False)

    class Meta:
        verbose_name = verbose_name_plural = _("佐证材料")
        indexes = [
            due_index("media_due"),
            models.Index(fields=["lost_at"], name="media_lost", condition=Q(lost_at__isnull=False)),
        ]
        constraints = [
            models.CheckConstraint(name="media_size_not_negative", condition=Q(size__gte=0)),
            models.CheckConstraint(
                name="media_origin_known", condition=Q(origin__in=["", "camera", "gallery"])
            ),
            models.CheckConstraint(
                name="media_state_known",
                condition=Q(
                    state__in=[
                        "declared",
                        "arrived",
                        "stored",
                        "processing",
                        "ready",
                        "rejected",
                        "deleted",
                    ]
                ),
            ),
            models.CheckConstraint(
                name="media_rejected_has_reason",
                condition=(Q(state="rejected") & ~Q(reject_code=""))
                | (~Q(state="rejected") & Q(reject_code=""))
                # What was rejected, or never came, can be deleted as well.
                | Q(state="deleted"),
            ),
            models.CheckConstraint(
                name="media_stored_has_time",
                condition=Q(state__in=["declared", "arrived"], stored_at=None)
                | (~Q(state__in=["declared", "arrived"]) & Q(stored_at__isnull=False))
                | Q(state="deleted"),
            ),
            models.CheckConstraint(
                name="media_position_whole",
                # A range alone is unknown for NULL, and a check lets the unknown pass.
                condition=Q(latitude=None, longitude=None, accuracy_m=None)
                | Q(
                    latitude__isnull=False,
                    longitude__isnull=False,
                    latitude__range=(-90, 90),
                    longitude__range=(-180, 180),
                ),
            ),
        ]

    def __str__(self) -> str:
        return self.filename

    @property
    def reject_reason(self) -> str:
        """The sentence that the inspector reads; empty unless rejected or deleted."""
        if self.state == self.State.DELETED:
            return str(_DELETED)
        return str(self.get_reject_code_display()) if self.reject_code else ""

    @property
    def note(self) -> str:
        """A remark on an accepted file, such as why it has no preview."""
        return str(self.get_note_code_display())

    @property
    def is_uploaded(self) -> bool:
        """Its bytes were verified: a phone may forget them."""
        return self.state not in (self.State.DECLARED, self.State.ARRIVED)


class Facts(models.Model):
    """What the bytes of an object say of themselves, read once by the worker: data, never proof.

    A table of its own: the accept path inserts media objects and knows nothing of this. `exif_at` is
    the moment of exposure; where the camera wrote no offset (`exif_has_zone` is false) its clock is
    taken to be that of TIME_ZONE. Latitude and longitude are degrees of WGS-84.
    """

    media = models.OneToOneField(
        MediaObject, models.CASCADE, primary_key=True, related_name="facts"
    )
    exif_at = models.DateTimeField(_("拍摄时间（EXIF）"), null=True, blank=True)
    exif_has_zone = models.BooleanField(default=False)
    latitude = models.FloatField(_("纬度（EXIF）"), null=True, blank=True)
    longitude = models.FloatField(_("经度（EXIF）"), null=True, blank=True)
    accuracy_m = models.FloatField(_("定位精度（米，EXIF）"), null=True, blank=True)
    camera_maker = models.CharField(_("厂商"), max_length=80, blank=True, default="")
    camera_model = models.CharField(_("型号"), max_length=80, blank=True, default="")
    software = models.CharField(_("软件"), max_length=80, blank=True, default="")
    exif = models.JSONField(_("EXIF"), default=dict, blank=True)
    duration_ms = models.PositiveBigIntegerField(_("时长（毫秒）"), null=True, blank=True)
    pages = models.PositiveIntegerField(_("页数"), null=True, blank=True)
    perceptual_hash = models.BigIntegerField(null=True, blank=True, editable=False)

    class Meta:
        verbose_name = verbose_name_plural = _("文件自述")
        constraints = [
            models.CheckConstraint(
                name="facts_position_whole",
                condition=Q(latitude=None, longitude=None, accuracy_m=None)
                | Q(
                    latitude__isnull=False,
                    longitude__isnull=False,
                    latitude__range=(-90, 90),
                    longitude__range=(-180, 180),
                ),
            )
        ]

    def __str__(self) -> str:
        return str(self.media_id)


class Rendition(models.Model):
    """A smaller copy of a picture, upright and without metadata: what pages and phones show.

    Of a video a frame, of a PDF its first page. The small one is there before the large one.
    `shared` is the copy for those who may not open the original (server.sharing): with a watermark, and
    with faces hidden where the instrument wants it; `shared_small` is made from it, without a watermark.
    """

    class Name(models.TextChoices):
        SMALL = "small", _("小图（320）")
        LARGE = "large", _("大图（1600）")
        SHARED = "shared", _("共享图（水印）")
        SHARED_SMALL = "shared_small", _("共享图的小图（320）")

    media = models.ForeignKey(MediaObject, models.CASCADE, related_name="renditions")
    name = models.CharField(max_length=16, choices=Name)
    width = models.PositiveIntegerField()
    height = models.PositiveIntegerField()
    size = models.PositiveIntegerField()
    key = models.CharField(max_length=170, unique=True)
    content_type = models.CharField(max_length=40, default="image/jpeg", editable=False)

    class Meta:
        ordering = ["media", "-name"]
        constraints = [
            models.UniqueConstraint(fields=["media", "name"], name="rendition_once"),
            models.CheckConstraint(
                name="rendition_name_known",
                condition=Q(name__in=["small", "large", "shared", "shared_small"]),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.media_id} {self.name}"

    @property
    def filename(self) -> str:
        stem = PurePosixPath(self.media.filename).stem
        return f"{stem}-{self.name}{extension_of(self.content_type)}"


class Housekeeping(models.Model):
    """How far the store's sweeping has come, and the mark by which it knows the store; one row.

    `mark` lies in the store as well, `next_mark` is about to. `refused_at`: since when they differ.
    What is older than `kept_before` is kept though no row names it.
    """

    id = models.PositiveSmallIntegerField(primary_key=True, default=1, editable=False)
    mark = models.CharField(max_length=64, blank=True, default="")
    next_mark = models.CharField(max_length=64, blank=True, default="")
    refused_at = models.DateTimeField(null=True, blank=True)
    kept_before = models.DateTimeField(null=True, blank=True)
    lease_until = models.DateTimeField(null=True, blank=True)
    cursor = models.CharField(max_length=1024, blank=True, default="")
    pass_began_at = models.DateTimeField(null=True, blank=True)
    pass_ended_at = models.DateTimeField(null=True, blank=True)
    counts = models.JSONField(default=dict, blank=True)

    class Meta:
        constraints = [models.CheckConstraint(name="housekeeping_is_one", condition=Q(id=1))]

    def __str__(self) -> str:
        return f"{self.pass_began_at} {self.cursor}"

    @classmethod
    def ours(cls) -> Housekeeping:
        return cls.objects.get_or_create(id=1)[0]
