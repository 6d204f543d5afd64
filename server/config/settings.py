"""The one settings module. URLs in the environment choose the world; without them it is embedded.

DUXUE_ENV=production makes the system checks refuse embedded parts, demo accounts and missing secrets
(server.config.checks).
"""

from pathlib import Path
from typing import Any

import environ
from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import reverse_lazy
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

env = environ.Env()

BASE_DIR = Path(__file__).resolve().parents[2]
VAR_DIR = Path(env.str("VAR_DIR", default=str(BASE_DIR / "var"))).absolute()

PRODUCTION = env.str("DUXUE_ENV", default="embedded") == "production"
DEBUG = env.bool("DEBUG", default=False)
EMBEDDED_SECRET_KEY = "embedded-only-not-a-secret-" + "0" * 32
SECRET_KEY = env.str("SECRET_KEY", default=EMBEDDED_SECRET_KEY)
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=[] if PRODUCTION else ["*"])
PUBLIC_URL = env.str("PUBLIC_URL", default="")
"""The address that people reach us by, such as https://duxue.example; empty: the request's own."""
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[PUBLIC_URL] if PUBLIC_URL else [])
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if PRODUCTION else None
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = PRODUCTION
SECURE_HSTS_SECONDS = env.int("SECURE_HSTS_SECONDS", default=31_536_000 if PRODUCTION else 0)
SECURE_SSL_REDIRECT = env.bool("SECURE_SSL_REDIRECT", default=PRODUCTION)
SILENCED_SYSTEM_CHECKS = [
    *("security.W002", "security.W003"),  # server.config.middleware has both under its own names
    *("security.W005", "security.W021"),  # subdomains and browsers' lists are the host's to decide
]

INSTALLED_APPS = [
    "unfold.apps.BasicAppConfig",  # before the admin, whose templates it replaces
    "server.console.apps.ConsoleAdminConfig",  # django.contrib.admin with the console's own site
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "channels",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "axes",
    "django_tasks",
    "django_tasks_db",
    "server.config",
    "media_storage",
    "server.core",
    "server.grid",
    "server.instruments",
    "server.activities",
    "server.findings",
    "server.conversations",
    "server.evidence",
    "server.care",
    "server.sharing",
    "server.receipts",
    "server.messaging",
    "server.webhooks",
    "server.console",
    "mobile_api",
]

# Sessions, CSRF and messages serve pages; the interfaces of phones carry their own credentials and
# are called a hundred times as often, so the page middleware steps aside for them.
MIDDLEWARE = [
    "server.config.middleware.request_id",
    "django.middleware.security.SecurityMiddleware",
    "server.config.middleware.StaticFiles",
    "server.config.middleware.Sessions",
    "django.middleware.locale.LocaleMiddleware",
    "server.config.middleware.Common",
    "server.config.middleware.Csrf",
    "server.config.middleware.Authentication",
    "server.config.middleware.Messages",
    "server.config.middleware.Clickjacking",
    "axes.middleware.AxesMiddleware",
]

ROOT_URLCONF = "server.config.urls"
WSGI_APPLICATION = "server.config.wsgi.application"
ASGI_APPLICATION = "server.config.asgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "server/console/theme"],  # what replaces the theme's own
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

# ---- the world ------------------------------------------------------------------------------

DATABASES: dict[str, dict[str, Any]] = {
    "default": env.db_url("DATABASE_URL", default=f"sqlite:///{VAR_DIR / 'duxue.sqlite3'}")
}
if "sqlite" in DATABASES["default"]["ENGINE"]:
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;",
    }
else:
    DATABASES["default"]["CONN_MAX_AGE"] = env.int("CONN_MAX_AGE", default=0)
    DATABASES["default"]["CONN_HEALTH_CHECKS"] = True
    # Bound and prepared on the server: measured +69 % submissions a second on the accept path.
    # Prepared from the second time on: migrations send two commands in one, which cannot be.
    # No query here runs long enough to earn back being compiled: finding an audience of 100,000 took
    # 380 ms, of them 300 compiling.
    _given = DATABASES["default"].setdefault("OPTIONS", {})
    _given.update(
        server_side_binding=True,
        prepare_threshold=1,
        options=f"-c jit=off {_given.get('options', '')}".strip(),  # DATABASE_URL may have some, last
    )

MEDIA_STORE_URL = env.str("MEDIA_STORE_URL", default=f"folder://{VAR_DIR / 'media'}")
# Where objects may still lie that were not moved to MEDIA_STORE_URL yet (docs/stores.md).
MEDIA_STORE_OLD_URL = env.str("MEDIA_STORE_OLD_URL", default="")
CHANNEL_URL = env.str("CHANNEL_URL", default="memory://")
PUSH_URL = env.str("PUSH_URL", default="log://")

if CHANNEL_URL.startswith("memory:"):
    CHANNEL_LAYERS: dict[str, dict[str, Any]] = {
        "default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}
    }
else:
    CHANNEL_LAYERS = {
        "default": {
            "BACKEND": "server.messaging.channels.layer.LiveLayer",
            "CONFIG": {"hosts": [{"address": CHANNEL_URL, "health_check_interval": 20}]},
        }
    }

TASKS = {"default": {"BACKEND": "django_tasks_db.DatabaseBackend"}}

# ---- people ---------------------------------------------------------------------------------

AUTH_USER_MODEL = "grid.User"
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "django.contrib.auth.backends.ModelBackend",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
AXES_FAILURE_LIMIT = 10
AXES_COOLOFF_TIME = 0.25  # hours
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_DISABLE_ACCESS_LOG = True
AXES_LOCKOUT_TEMPLATE = "console/locked.html"
LOGIN_URL = "admin:login"
LOGIN_REDIRECT_URL = "admin:index"
DEVICE_TOKEN_DAYS = env.int("DEVICE_TOKEN_DAYS", default=180)
DEMO_PASSWORD = "duxue-demo"
INSPECTOR_TERM_YEARS = env.int("INSPECTOR_TERM_YEARS", default=3)
INSPECTOR_TERMS_IN_A_ROW = env.int("INSPECTOR_TERMS_IN_A_ROW", default=3)
INSPECTOR_USUAL_SCHOOLS = env.int("INSPECTOR_USUAL_SCHOOLS", default=5)
INSPECTOR_MAX_SCHOOLS = env.int("INSPECTOR_MAX_SCHOOLS", default=20)
"""Order 624, art. 6, and the rules of areas of responsibility; an import warns above the usual."""

# ---- working time -----------------------------------------------------------------------------

REMIND_AT = env.str("REMIND_AT", default="08:30")
"""From this local time on, on working days, people are reminded of what is due and overdue."""
OFFICE_HOURS = env.str("OFFICE_HOURS", default="08:30-17:30")
"""The hours that an escalation rule by office hours counts, in local time."""

# ---- care for pupils --------------------------------------------------------------------------

KEEP_MEDIA_DAYS = env.int("KEEP_MEDIA_DAYS", default=0) or None
"""For how long after its end a new activity's photos are kept, unless its office says otherwise;
None: for ever."""
DELETION_GRACE_DAYS = env.int("DELETION_GRACE_DAYS", default=14)
"""Between the announcement that files are due for deletion and the deletion."""
EXPORT_DAYS = env.int("EXPORT_DAYS", default=7)
"""For how long an export can be downloaded."""
AUDIT_IP_ADDRESSES = env.bool("AUDIT_IP_ADDRESSES", default=False)
"""Whether the audit log keeps the address that a request came from."""

# ---- messages (docs/messages.md) --------------------------------------------------------------

DELIVERY_HOURS = env.int("DELIVERY_HOURS", default=72)
"""For how long a message is worth sending, where its event does not say."""
DELIVERY_RATES = env.dict("DELIVERY_RATES", default={})
"""Messages a second for each provider, such as `sms=20,robot.wecom=5`; who is not named has no bound."""
QUIET_HOURS = env.str("QUIET_HOURS", default="22:00-07:00")
"""When nothing rings that is not urgent, for who has not chosen; local in TIME_ZONE. Empty: never."""
CHANNEL_ORDER = env.list("CHANNEL_ORDER", default=["fcm", "webpush", "jpush", "mail", "sms"])
"""Which channel is tried first, for who has not chosen and of whom nothing is known yet."""
FALLBACK_MINUTES = env.int("FALLBACK_MINUTES", default=60)
FALLBACK_URGENT_MINUTES = env.int("FALLBACK_URGENT_MINUTES", default=5)
"""A notice that was not read for so long goes by the next channel."""
DIGEST_ABOVE = env.int("DIGEST_ABOVE", default=3)
DIGEST_MINUTES = env.int("DIGEST_MINUTES", default=10)
"""More messages than this to one address within so many minutes become one; urgent ones never."""
# ---- conversations ----------------------------------------------------------------------------

CONVERSATION_MESSAGES_A_MINUTE = env.int("CONVERSATION_MESSAGES_A_MINUTE", default=60)
"""So many messages of one person arrive in a minute; more are refused until it is over."""
CONVERSATION_NOTICE_SECONDS = env.int("CONVERSATION_NOTICE_SECONDS", default=30)
"""Whoever has not read a message by then has a notice."""
CONVERSATION_KEEP_DAYS = env.int("CONVERSATION_KEEP_DAYS", default=0)
"""For how long messages that belong to no activity are kept; 0: for ever. Those of an activity are
kept as long as its photos."""

# ---- limits ---------------------------------------------------------------------------------

MAX_DOCUMENT_BYTES = 4 * 1024 * 1024
"""One submission's XML or JSON."""
MAX_UPLOAD_BYTES = env.int("MAX_UPLOAD_BYTES", default=100 * 1024 * 1024)
"""One OpenRosa request, and one declared media object of the largest kind."""
REFUSED_DOCUMENT_DAYS = env.int("REFUSED_DOCUMENT_DAYS", default=30)
"""How long the office can still read what a phone sent and we refused."""
MEDIA_UPLOAD_KEPT_DAYS = env.int("MEDIA_UPLOAD_KEPT_DAYS", default=30)
"""How long a half-done upload waits for its phone to go on."""
MEDIA_SWEEP_GRACE_DAYS = env.int("MEDIA_SWEEP_GRACE_DAYS", default=14)
MEDIA_TRASH_DAYS = env.int("MEDIA_TRASH_DAYS", default=14)
"""What no row names goes to the store's trash after the one, and is deleted after the other."""
DATA_UPLOAD_MAX_MEMORY_SIZE = MAX_DOCUMENT_BYTES
DATA_UPLOAD_MAX_NUMBER_FIELDS = 20_000

# ---- evidence: when a photo is flagged (docs/evidence.md) --------------------------------------

EVIDENCE_PLACE_METRES = env.int("EVIDENCE_PLACE_METRES", default=500)
"""A photo or check-in is elsewhere when it is farther from the school than this and its accuracy."""
EVIDENCE_UNKNOWN_ACCURACY_METRES = env.int("EVIDENCE_UNKNOWN_ACCURACY_METRES", default=50)
"""Taken for the accuracy of a position that does not tell its own."""
EVIDENCE_VISIT_MARGIN_MINUTES = env.int("EVIDENCE_VISIT_MARGIN_MINUTES", default=30)
"""So long before check-in, and after completion, a photo still belongs to the visit."""
EVIDENCE_CLOCK_OFF_SECONDS = env.int("EVIDENCE_CLOCK_OFF_SECONDS", default=300)
"""A phone's clock that differs more from the server's is wrong."""
EVIDENCE_TIMES_DIFFER_SECONDS = env.int("EVIDENCE_TIMES_DIFFER_SECONDS", default=600)
"""Two times of one photo that differ more contradict each other."""
EVIDENCE_CLOCK_READING_DAYS = env.int("EVIDENCE_CLOCK_READING_DAYS", default=7)
"""A phone's clock that was read longer before or after a photo says nothing about it."""
EVIDENCE_SIMILAR_BITS = env.int("EVIDENCE_SIMILAR_BITS", default=3)
"""Photos whose perceptual hashes differ in so many of 64 bits, or fewer, look the same; 3 at most."""
EVIDENCE_FLAT_BITS = env.int("EVIDENCE_FLAT_BITS", default=8)
"""A hash with fewer bits set, or fewer not set, is that of an empty wall: it is not compared."""
EVIDENCE_NAMED_OTHERS = env.int("EVIDENCE_NAMED_OTHERS", default=5)
"""So many other uses of the same photo are named, the first by id."""
EVIDENCE_EDITORS = env.list(
    "EVIDENCE_EDITORS",
    default=[
        *("photoshop", "lightroom", "adobe", "gimp", "paint", "pixelmator", "affinity", "canva"),
        *("snapseed", "picsart", "vsco", "facetune", "faceapp", "meitu", "beautyplus", "b612"),
        *("polarr", "photodirector", "photoscape", "acdsee", "美图", "美颜", "醒图", "天天p图"),
    ],
)
"""Words of EXIF's `Software` that name a program for changing pictures; in any case of letters."""
# ---- receipts -------------------------------------------------------------------------------

RECEIPT_KEY = env.str("RECEIPT_KEY", default="")
RECEIPT_KEY_FILE = env.str("RECEIPT_KEY_FILE", default="")
"""The keys that sign receipts: 64 hexadecimal digits each (server.receipts.keys)."""
RECEIPT_KEY_MADE = not (PRODUCTION or RECEIPT_KEY or RECEIPT_KEY_FILE)
if RECEIPT_KEY_MADE:
    RECEIPT_KEY_FILE = str(VAR_DIR / "receipt-key")

# ---- channels (docs/channels.md) --------------------------------------------------------------

SECRETS_KEYS = env.str("SECRETS_KEYS", default="")
SECRETS_KEYS_FILE = env.str("SECRETS_KEYS_FILE", default="")
"""The keys that encrypt others' credentials: 64 hexadecimal digits each (server.core.secrets)."""
SECRETS_KEYS_MADE = not (PRODUCTION or SECRETS_KEYS or SECRETS_KEYS_FILE)
if SECRETS_KEYS_MADE:
    SECRETS_KEYS_FILE = str(VAR_DIR / "secrets-keys")
OUTBOUND_PRIVATE_NETWORKS = env.list("OUTBOUND_PRIVATE_NETWORKS", default=[])
"""Networks of one's own that addresses given by schools and browsers may lead to all the same."""
ROBOT_HOSTS = env.list("ROBOT_HOSTS", default=[])
"""More servers that chat robots may live on: wecom=https://wx.example, dingtalk=…, feishu=…."""
VAPID_PRIVATE_KEY = env.str("VAPID_PRIVATE_KEY", default="")
VAPID_PRIVATE_KEY_FILE = env.str("VAPID_PRIVATE_KEY_FILE", default="")
"""The key that Web Push is signed with (server.messaging.vapid); none: no Web Push."""
VAPID_KEY_MADE = not (PRODUCTION or VAPID_PRIVATE_KEY or VAPID_PRIVATE_KEY_FILE)
if VAPID_KEY_MADE:
    VAPID_PRIVATE_KEY_FILE = str(VAR_DIR / "vapid-key")
VAPID_SUBJECT = env.str("VAPID_SUBJECT", default="") or (
    PUBLIC_URL.rstrip("/") if PUBLIC_URL.startswith("https:") else "mailto:duxue@localhost"
)
"""Whom a push service may write to about our messages: mailto:… or https://…."""
JPUSH_URL = env.str("JPUSH_URL", default="")
"""jpush://app_key:master_secret@api.jpush.cn; empty: none."""
SMS_URL = env.str("SMS_URL", default="")
"""An address of apprise with {phone} in it; empty: no text messages."""
MAIL_URL = env.str("MAIL_URL", default="")
"""smtp+tls://user:password@host:587; empty: no mail."""
MAIL_FROM = env.str("MAIL_FROM", default="")

# ---- webhooks (docs/webhooks.md) ---------------------------------------------------------------

WEBHOOK_EVENT_DAYS = env.int("WEBHOOK_EVENT_DAYS", default=30)
"""For how long an event is kept, to be sent to an endpoint that was away, or once more."""

# ---- language, time, files ------------------------------------------------------------------

LANGUAGE_CODE = "zh-hans"
LANGUAGES = [("zh-hans", "简体中文"), ("en", "English")]
LOCALE_PATHS = [BASE_DIR / "server" / "locale"]
FORMAT_MODULE_PATH = ["server.console.formats"]
USE_I18N = USE_TZ = True
TIME_ZONE = env.str("TIME_ZONE", default="Asia/Shanghai")
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
STATIC_URL = "/static/"
STATIC_ROOT = VAR_DIR / "static"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
WHITENOISE_USE_FINDERS = not PRODUCTION
WHITENOISE_AUTOREFRESH = False

# ---- interfaces -----------------------------------------------------------------------------

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["mobile_api.authentication.DeviceTokenAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "mobile_api.problems.exception_handler",
    "UNAUTHENTICATED_USER": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Duxue 督学",
    "DESCRIPTION": "Field inspection for county education supervision. See docs/ for the guide.",
    "VERSION": "1",
    "OAS_VERSION": "3.1.1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SERVE_AUTHENTICATION": [],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "COMPONENT_SPLIT_REQUEST": True,
    "PREPROCESSING_HOOKS": ["mobile_api.openapi.only_the_api"],
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "mobile_api.openapi.describe_problems",
    ],
    "SORT_OPERATIONS": False,
    "ENUM_NAME_OVERRIDES": {
        "ActivityState": "server.activities.models.Activity.State",
        "VisitState": "server.activities.models.Visit.State",
        "SubmissionState": "mobile_api.serializers.work.COMPLETENESS",
        "MediaState": "media_storage.models.MediaObject.State",
        "FindingState": "server.findings.models.Finding.State",
        "SeverityEnum": "server.findings.models.Finding.Severity",
        "FlagSeverity": "server.evidence.models.Flag.Severity",
        "FlagCode": "server.evidence.models.Flag.Code",
        "ExportState": "server.care.models.Export.State",
        "KindEnum": "server.activities.models.Activity.Kind",
        "ConversationSubject": "server.conversations.models.Conversation.Subject",
        "MessageKind": "server.conversations.models.Message.Kind",
        "MessageGone": "server.conversations.models.Message.Gone",
        "ReceiptKind": "server.receipts.models.Receipt.Kind",
        "ChatGroupKind": "server.messaging.models.ChatGroup.Kind",
        "DeliveryState": "server.messaging.models.Delivery.State",
        "WebhookState": "server.webhooks.models.WebhookEndpoint.State",
        "WebhookDeliveryState": "server.webhooks.models.WebhookDelivery.State",
        "QuestionKind": "mobile_api.serializers.notices.QUESTION_KINDS",
        "StageEnum": "server.grid.models.School.Stage",
        "RoleEnum": "server.grid.models.Membership.Role",
        "ChannelEnum": "server.messaging.models.Delivery.Channel",
    },
}


def _nav(title: Promise, icon: str, view: str, **more: Any) -> dict[str, Any]:
    return {"title": title, "icon": icon, "link": reverse_lazy(f"admin:{view}"), **more}


def _on_deletions(request: HttpRequest) -> bool:
    """The page of storage use lies below that of deletions, and has a line of its own."""
    path = request.path.partition("/care/deletion/")[1:]
    return bool(path[0]) and not path[1].startswith("storage/")


def _is_office(request: HttpRequest) -> bool:
    from server.console.access import standing_of

    return standing_of(request).is_office


UNFOLD = {
    "SITE_TITLE": _("督学 Duxue"),
    "SITE_HEADER": _("督学 Duxue"),
    "SITE_SUBHEADER": _("县域教育督导"),
    "SITE_SYMBOL": "fact_check",
    "SITE_URL": "/",
    "SITE_FAVICONS": [
        {
            "rel": "icon",
            "type": "image/svg+xml",
            "href": lambda request: static("console/favicon.svg"),
        }
    ],
    "THEME": "light",
    "SHOW_LANGUAGES": True,
    "SHOW_HISTORY": False,
    "STYLES": [lambda request: static("console/console.css")],
    "COLORS": {
        "primary": {
            "50": "#eff6ff",
            "100": "#dbeafe",
            "200": "#bfdbfe",
            "300": "#93c5fd",
            "400": "#60a5fa",
            "500": "#2f6fde",
            "600": "#1d5bc4",
            "700": "#174a9f",
            "800": "#163d80",
            "900": "#163467",
            "950": "#0f2141",
        }
    },
    "SIDEBAR": {
        "navigation": [
            {"items": [_nav(_("概览"), "space_dashboard", "index")]},
            {
                "title": _("督导工作"),
                "items": [
                    _nav(
                        pgettext_lazy("list", "督导活动"),
                        "event_note",
                        "activities_activity_changelist",
                    ),
                    _nav(_("入校任务"), "assignment_turned_in", "activities_visit_changelist"),
                    _nav(_("问题与整改"), "report", "findings_finding_changelist"),
                    {
                        "title": pgettext_lazy("list", "沟通"),
                        "icon": "forum",
                        "link": reverse_lazy("conversations"),
                        "active": lambda request: request.path.startswith("/conversations/"),
                    },
                    _nav(
                        pgettext_lazy("list", "填报"),
                        "description",
                        "activities_submission_changelist",
                    ),
                    _nav(
                        pgettext_lazy("list", "填报冲突"),
                        "difference",
                        "activities_submissionconflict_changelist",
                    ),
                    _nav(
                        pgettext_lazy("list", "被拒绝的填报"),
                        "block",
                        "activities_refuseddocument_changelist",
                    ),
                    _nav(
                        pgettext_lazy("list", "督导工具"),
                        "checklist",
                        "instruments_instrument_changelist",
                    ),
                    {
                        **_nav(_("佐证材料"), "photo_library", "media_storage_mediaobject_gallery"),
                        "active": lambda request: "/media_storage/mediaobject/" in request.path,
                    },
                    _nav(
                        pgettext_lazy("list", "每日存证"), "verified", "receipts_dayhead_changelist"
                    ),
                ],
            },
            {
                "title": _("材料保护"),
                "items": [
                    _nav(
                        _("待删除和已删除"),
                        "auto_delete",
                        "care_deletion_changelist",
                        active=_on_deletions,
                    ),
                    _nav(pgettext_lazy("list", "保全"), "gavel", "care_hold_changelist"),
                    _nav(
                        pgettext_lazy("list", "原图授权"), "key", "care_originalsgrant_changelist"
                    ),
                    _nav(_("存储用量"), "database", "care_deletion_storage"),
                    _nav(pgettext_lazy("list", "导出"), "archive", "care_export_changelist"),
                    _nav(_("操作日志"), "history", "core_auditentry_changelist"),
                ],
            },
            {
                "title": pgettext_lazy("list", "通知"),
                "items": [
                    _nav(pgettext_lazy("list", "通知"), "campaign", "messaging_notice_changelist"),
                    _nav(_("送达记录"), "mark_email_read", "messaging_delivery_changelist"),
                    _nav(_("通知模板"), "edit_note", "messaging_eventwording_changelist"),
                    _nav(
                        pgettext_lazy("list", "催办规则"),
                        "notification_important",
                        "messaging_escalationrule_changelist",
                    ),
                    _nav(
                        pgettext_lazy("list", "催办记录"),
                        "timeline",
                        "messaging_escalationstep_changelist",
                    ),
                    _nav(pgettext_lazy("list", "群聊"), "forum", "messaging_chatgroup_changelist"),
                    {
                        "title": _("浏览器通知"),
                        "icon": "notifications_active",
                        "link": reverse_lazy("channels"),
                    },
                    _nav(
                        pgettext_lazy("list", "设备"), "smartphone", "messaging_device_changelist"
                    ),
                    {
                        **_nav(_("消息服务商"), "dns", "messaging_provider_changelist"),
                        "permission": lambda request: request.user.is_superuser,
                    },
                    _nav(_("我的消息偏好"), "tune", "messaging_preference_changelist"),
                    _nav(
                        pgettext_lazy("list", "外发推送"),
                        "webhook",
                        "webhooks_webhookendpoint_changelist",
                        permission=_is_office,
                    ),
                ],
            },
            {
                "title": _("学校与人员"),
                "items": [
                    _nav(pgettext_lazy("list", "学校"), "school", "grid_school_changelist"),
                    _nav(pgettext_lazy("list", "人员"), "group", "grid_user_changelist"),
                    _nav(pgettext_lazy("list", "任职"), "badge", "grid_membership_changelist"),
                    _nav(pgettext_lazy("list", "聘任"), "handshake", "grid_appointment_changelist"),
                    _nav(pgettext_lazy("list", "行政区"), "map", "grid_area_changelist"),
                    _nav(pgettext_lazy("list", "节假日"), "event_busy", "grid_holiday_changelist"),
                ],
            },
        ]
    },
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "plain"}},
    "root": {"handlers": ["console"], "level": env.str("LOG_LEVEL", default="INFO")},
    "loggers": {
        "axes": {"level": "WARNING"},
        "apprise": {"level": "WARNING"},
        "django_tasks": {"level": "WARNING"},
        "django_tasks_db": {"level": "WARNING"},
        "httpx": {"level": "WARNING"},
        "urllib3": {"level": "INFO"},  # below, it writes addresses, and a robot's is a secret
    },
}
