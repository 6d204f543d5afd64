"""The grid: areas, schools, people, their roles and terms, and who is appointed to which school."""

from __future__ import annotations

from typing import Any, ClassVar, Self

from django.contrib.auth.models import AbstractBaseUser, PermissionsMixin, UserManager
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from server.core.clock import today
from server.core.ids import new_id


class Area(models.Model):
    """A node of the grid tree. `path` holds the codes from the root down, each closed by a slash."""

    class Level(models.TextChoices):
        PROVINCE = "province", _("省")
        CITY = "city", _("市")
        COUNTY = "county", _("县")
        TOWN = "town", _("镇/街道")

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    name = models.CharField(_("名称"), max_length=80)
    code = models.CharField(
        _("行政区划代码"),
        max_length=12,
        unique=True,
        validators=[RegexValidator(r"^\d{2,12}$", _("应为 2 至 12 位数字"))],
    )
    level = models.CharField(_("级别"), max_length=10, choices=Level)
    parent = models.ForeignKey(
        "self",
        models.PROTECT,
        null=True,
        blank=True,
        related_name="children",
        verbose_name=_("上级行政区"),
    )
    path = models.CharField(max_length=64, unique=True, editable=False)

    class Meta:
        verbose_name = _("行政区")
        verbose_name_plural = pgettext_lazy("list", "行政区")
        ordering = ["path"]

    def __str__(self) -> str:
        return self.name

    def save(self, *args: Any, **kwargs: Any) -> None:
        self.path = f"{self.parent.path if self.parent else ''}{self.code}/"
        super().save(*args, **kwargs)


class School(models.Model):
    """A school or kindergarten: what is inspected."""

    class Stage(models.TextChoices):
        KINDERGARTEN = "kindergarten", _("幼儿园")
        PRIMARY = "primary", _("小学")
        JUNIOR = "junior", _("初中")
        NINE_YEAR = "nine_year", _("九年一贯制学校")
        SENIOR = "senior", _("高中")
        VOCATIONAL = "vocational", _("职业学校")
        SPECIAL = "special", _("特殊教育学校")

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    name = models.CharField(_("学校名称"), max_length=120)
    code = models.CharField(
        _("学校标识码"),
        max_length=10,
        unique=True,
        validators=[RegexValidator(r"^\d{10}$", _("学校标识码应为 10 位数字"))],
    )
    stage = models.CharField(_("学段"), max_length=16, choices=Stage)
    area = models.ForeignKey(
        Area, models.PROTECT, related_name="schools", verbose_name=_("所在镇街")
    )
    address = models.CharField(_("地址"), max_length=200, blank=True)
    latitude = models.FloatField(
        _("纬度"),
        null=True,
        blank=True,
        help_text=_("WGS-84，度"),
        validators=[MinValueValidator(-90), MaxValueValidator(90)],
    )
    longitude = models.FloatField(
        _("经度"),
        null=True,
        blank=True,
        help_text=_("WGS-84，度"),
        validators=[MinValueValidator(-180), MaxValueValidator(180)],
    )
    enrolment = models.PositiveIntegerField(_("在校生数"), default=0)
    is_active = models.BooleanField(_("在办"), default=True)

    class Meta:
        verbose_name = _("学校")
        verbose_name_plural = pgettext_lazy("list", "学校")
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(
                name="school_position_whole",
                # A check passes on NULL, so a half position must be named to be refused.
                condition=Q(latitude=None, longitude=None)
                | Q(
                    latitude__isnull=False,
                    longitude__isnull=False,
                    latitude__range=(-90, 90),
                    longitude__range=(-180, 180),
                ),
                violation_error_message=_("经度和纬度要么都填，要么都不填"),
            )
        ]

    def __str__(self) -> str:
        return self.name


class User(AbstractBaseUser, PermissionsMixin):
    """A person: what they may do comes from their memberships, appointments and visits."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    username = models.CharField(_("登录名"), max_length=64, unique=True)
    name = models.CharField(_("姓名"), max_length=40)
    phone = models.CharField(
        _("手机号"),
        max_length=16,
        blank=True,
        validators=[RegexValidator(r"^\+?\d{5,15}$", _("应为电话号码"))],
    )
    email = models.EmailField(_("电子邮箱"), blank=True)
    licence = models.CharField(_("督学证号"), max_length=32, blank=True)
    language = models.CharField(
        _("语言"),
        max_length=8,
        default="zh-hans",
        choices=[("zh-hans", "简体中文"), ("en", "English")],
    )
    is_active = models.BooleanField(_("可登录"), default=True)
    is_staff = models.BooleanField(_("可进入管理后台"), default=False)
    is_demo = models.BooleanField(default=False, editable=False)
    date_joined = models.DateTimeField(auto_now_add=True)

    known_roles: list[Membership] | None = None
    """The roles of today, where one request has asked for them once (queries.remember_roles)."""

    USERNAME_FIELD = "username"
    EMAIL_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = ["name"]

    objects: ClassVar[UserManager[Self]] = UserManager()

    class Meta:
        verbose_name = _("人员")
        verbose_name_plural = pgettext_lazy("list", "人员")
        ordering = ["username"]

    def __str__(self) -> str:
        return self.name or self.username

    def get_full_name(self) -> str:
        return self.name

    def get_short_name(self) -> str:
        return self.name


def in_term(prefix: str = "") -> Q:
    """Rows whose term (`starts` to `ends`, both days included) covers today."""
    day = today()
    return Q(**{f"{prefix}starts__lte": day}) & (
        Q(**{f"{prefix}ends": None}) | Q(**{f"{prefix}ends__gte": day})
    )


def not_over() -> Q:
    """Rows whose term covers today or is still to come."""
    return Q(ends=None) | Q(ends__gte=today())


class Membership(models.Model):
    """A person's role within an area's subtree or at one school, for a term."""

    class Role(models.TextChoices):
        OFFICE = "office", _("教育督导办")
        TOWN_GROUP = "town_group", _("镇街教育督导组")
        INSPECTOR = "inspector", _("责任督学")
        SCHOOL_CONTACT = "school_contact", _("学校联系人")
        EXPERT = "expert", _("督导专家")

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    user = models.ForeignKey(
        User, models.CASCADE, related_name="memberships", verbose_name=_("人员")
    )
    role = models.CharField(_("角色"), max_length=16, choices=Role)
    area = models.ForeignKey(
        Area,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="memberships",
        verbose_name=_("行政区"),
    )
    school = models.ForeignKey(
        School,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="memberships",
        verbose_name=_("学校"),
    )
    starts = models.DateField(_("开始日期"), default=today)
    ends = models.DateField(_("结束日期"), null=True, blank=True)

    class Meta:
        verbose_name = _("任职")
        verbose_name_plural = pgettext_lazy("list", "任职")
        ordering = ["user", "role"]
        constraints = [
            models.CheckConstraint(
                name="membership_place_fits_role",
                condition=Q(role="school_contact", school__isnull=False, area=None)
                | (~Q(role="school_contact") & Q(area__isnull=False, school=None)),
                violation_error_message=_("学校联系人填写学校，其他角色填写行政区"),
            ),
            models.CheckConstraint(
                name="membership_term_in_order",
                condition=Q(ends=None) | Q(ends__gte=F("starts")),
                violation_error_message=_("结束日期不能早于开始日期"),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user} · {self.get_role_display()} · {self.area or self.school}"

    @property
    def place_path(self) -> str:
        """The path of the area in which the role holds."""
        area = self.school.area if self.school else self.area
        assert area  # noqa: S101 - membership_place_fits_role
        return area.path


class Appointment(models.Model):
    """An inspector's appointment to a school for a term: what the plate at the gate shows."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    inspector = models.ForeignKey(
        User, models.CASCADE, related_name="appointments", verbose_name=_("责任督学")
    )
    school = models.ForeignKey(
        School, models.CASCADE, related_name="appointments", verbose_name=_("学校")
    )
    starts = models.DateField(_("开始日期"), default=today)
    ends = models.DateField(_("结束日期"), null=True, blank=True)

    class Meta:
        verbose_name = _("聘任")
        verbose_name_plural = pgettext_lazy("list", "聘任")
        ordering = ["school", "-starts"]
        constraints = [
            models.CheckConstraint(
                name="appointment_term_in_order",
                condition=Q(ends=None) | Q(ends__gte=F("starts")),
                violation_error_message=_("结束日期不能早于开始日期"),
            ),
            models.UniqueConstraint(
                fields=["inspector", "school", "starts"], name="appointment_once_per_start"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.inspector} → {self.school}"


class Holiday(models.Model):
    """A day that is no ordinary one of its weekday: a day off, or a weekend day on which people work."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    day = models.DateField(_("日期"), unique=True)
    name = models.CharField(_("名称"), max_length=40)
    is_workday = models.BooleanField(_("调休上班"), default=False)

    class Meta:
        verbose_name = _("节假日")
        verbose_name_plural = pgettext_lazy("list", "节假日")
        ordering = ["day"]

    def __str__(self) -> str:
        return f"{self.day:%Y-%m-%d} {self.name}"
