"""Robots of group chats: WeCom, DingTalk, Feishu, spoken to in each platform's own protocol.

A robot is a webhook: whoever has its address speaks in the group. Pasted addresses are accepted only
on the platforms' own servers (and ROBOT_HOSTS), and looked at again at each sending; see docs/channels.md
for limits and sources, ADR 0024 for why this is not left to a library.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from django.conf import settings
from django.db.models import QuerySet
from django.utils import translation
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from server.core import clock
from server.core.errors import Text as Words
from server.core.hosts import AddressRefused, NoAnswer
from server.core.outbound import Answer, post
from server.core.secrets import KeysUnusable, SecretUnreadable, unseal
from server.core.work import PermanentFailure, TemporaryFailure, WorkFailure
from server.grid.models import User
from server.grid.queries import OFFICES, contacts_of, people_with_role_at
from server.messaging.channels import Sent, Unavailable
from server.messaging.channels.texts import Text, cut, fitted, text_of
from server.messaging.models import ChatGroup, Delivery

PURPOSE = "chat group"
MENTIONED = 20
Kind = ChatGroup.Kind


class RobotGone(PermanentFailure):
    """The robot does not exist any more, or its address never was one: nothing will come of it."""


@dataclass(frozen=True, repr=False)
class Robot:
    """How to speak in one group. It has no repr: each of its fields is a secret."""

    kind: str
    url: str
    sign_secret: str = ""
    keyword: str = ""


@dataclass(frozen=True)
class Speech:
    """One message to a group. `mobiles` and `names`: who must act; `everybody`: it cannot wait."""

    text: Text
    mobiles: Sequence[str] = ()
    names: Sequence[str] = ()
    everybody: bool = False


class RobotChannel:
    """Speaks once per notice in a group, and notes on the group how it went."""

    name = "robot"

    def send(self, delivery: Delivery) -> Sent:
        """Raises WorkFailure; a robot that is gone disables its group."""
        group = delivery.group
        if group is None or not group.enabled or group.deleted_at is not None:
            raise PermanentFailure(_("此群聊已停用"))
        with translation.override(group.language):
            try:
                speak(robot_of(group), speech_of(delivery, group))
            except RobotGone as failure:
                note_failure(group, str(failure), disable=True)
                raise
            except WorkFailure as failure:
                note_failure(group, str(failure))
                raise
        ChatGroup.objects.filter(pk=group.pk).update(last_sent_at=clock.now())
        return Sent("sent")


def note_failure(group: ChatGroup, reason: str, *, disable: bool = False) -> None:
    """Keep what went wrong beside the group, where its people see it."""
    facts: dict[str, Any] = {"last_failed_at": clock.now(), "last_failure": reason[:500]}
    if disable:
        facts |= {"enabled": False, "disabled_reason": reason[:200]}
    ChatGroup.objects.filter(pk=group.pk, deleted_at=None).update(**facts)


def robot_of(group: ChatGroup) -> Robot:
    """The group's robot, opened. Raises TemporaryFailure where the keys are not at hand."""
    try:
        stored = json.loads(unseal(group.secret, purpose=PURPOSE))
    except (SecretUnreadable, KeysUnusable) as error:
        raise TemporaryFailure(str(error)) from None
    return Robot(group.kind, stored["url"], stored["sign_secret"], stored["keyword"])


# ---- what is said ----------------------------------------------------------------------------


def speech_of(delivery: Delivery, group: ChatGroup) -> Speech:
    """The notice's words for the group; those who must act are named where something is asked."""
    notice = delivery.notice
    text = text_of(delivery, language=group.language)
    if not (notice.requires_ack or notice.is_urgent):
        return Speech(text)
    told = _people_of(group).filter(
        deliveries__notice=notice, deliveries__channel=Delivery.Channel.INBOX
    )
    people = list(told.order_by("pk").values_list("name", "phone")[:MENTIONED])
    return Speech(
        text,
        mobiles=[phone for _name, phone in people if phone],
        names=[name for name, _phone in people],
        everybody=notice.is_urgent,
    )


def _people_of(group: ChatGroup) -> QuerySet[User]:
    if group.area is not None:
        return people_with_role_at(group.area, *OFFICES)
    return contacts_of(group.school) if group.school is not None else User.objects.none()


# ---- addresses -------------------------------------------------------------------------------


class WebhookRefused(Exception):
    """What was pasted is not the address of a robot that we know; says why, in words."""


@dataclass(frozen=True)
class _Platform:
    """One vendor: where its robots live, how a message is written, and what its answers mean."""

    hosts: tuple[str, ...]
    path: re.Pattern[str]
    token: str  # the parameter that holds the robot's key; empty: it is in the path
    write: Callable[[Robot, Speech], tuple[str, dict[str, Any]]]
    code: tuple[str, ...]
    meanings: Mapping[int, tuple[str, Words]]


def parse_webhook(url: str) -> str:
    """The platform of a robot's address. Raises WebhookRefused."""
    try:
        parts = urlsplit(url.strip())
        origin = f"{parts.scheme}://{parts.netloc}".lower()
        parts.port  # noqa: B018 - raises for what is none
    except ValueError:
        raise WebhookRefused(_("这不是网址，请从群机器人的设置中完整复制 Webhook 地址")) from None
    known = [kind for kind in PLATFORMS if origin in _origins(kind)]
    for kind in known:
        platform = PLATFORMS[kind]
        token = parse_qs(parts.query).get(platform.token, [""])[0] if platform.token else "path"
        if platform.path.fullmatch(parts.path) and token and not parts.fragment:
            return kind
    if known:
        raise WebhookRefused(_("地址不完整，请从群机器人的设置中完整复制 Webhook 地址"))
    raise WebhookRefused(_("只支持企业微信、钉钉、飞书群机器人的 Webhook 地址（https://）"))


def host_of(url: str) -> tuple[str, int]:
    """Where a parsed address leads."""
    parts = urlsplit(url.strip())
    return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


def fingerprint_of(url: str) -> str:
    """Tells the same robot and opens nothing: its key has the entropy that keeps a digest safe."""
    return hashlib.sha256(url.strip().encode()).hexdigest()


def _origins(kind: str) -> list[str]:
    more = [each.partition("=")[::2] for each in settings.ROBOT_HOSTS]
    own = [origin.rstrip("/").lower() for name, origin in more if name == kind]
    return [*(f"https://{host}" for host in PLATFORMS[kind].hosts), *own]


# ---- sending ---------------------------------------------------------------------------------


def speak(robot: Robot, speech: Speech) -> None:
    """Say it in the group.

    Raises RobotGone, PermanentFailure for what somebody must mend, TemporaryFailure; their words are
    for people, in the language that is active, and never hold the address.
    """
    try:
        kind = parse_webhook(robot.url)
    except WebhookRefused as refusal:
        raise PermanentFailure(str(refusal)) from None
    platform = PLATFORMS[kind]
    url, document = platform.write(robot, speech)
    body = json.dumps(document, ensure_ascii=False).encode()
    headers = {"Content-Type": "application/json; charset=utf-8"}
    try:
        answer = post(url, body, headers)
    except AddressRefused:
        raise PermanentFailure(_("机器人地址指向内部网络，已拒绝")) from None
    except NoAnswer as error:
        raise Unavailable(_("平台没有应答：%(why)s") % {"why": error}) from None
    _judge(platform, answer)


def _judge(platform: _Platform, answer: Answer) -> None:
    code = _code_of(platform, answer.document)
    if code == 0:
        return
    if code is None:
        raise _unreadable(answer)
    meaning, words = platform.meanings.get(code, ("unknown", ""))
    told = _message_of(answer.document)
    reason = _("%(words)s（平台答复 %(code)s：%(told)s）") % {
        "words": words or _("平台拒绝了这条消息"),
        "code": code,
        "told": told,
    }
    if meaning == "gone":
        raise RobotGone(reason)
    if meaning in ("busy", "later"):
        wait = answer.retry_after or (600.0 if meaning == "later" else 60.0)
        raise TemporaryFailure(reason, retry_after=wait)
    raise PermanentFailure(reason)


def _unreadable(answer: Answer) -> TemporaryFailure:
    """An answer that is not the platform's own: a gateway's, a captive portal's, a broken one."""
    reason = _("平台的应答无法识别：HTTP %(status)s %(start)s") % {
        "status": answer.status,
        "start": answer.start,
    }
    kind = Unavailable if answer.status >= 500 else TemporaryFailure
    return kind(reason, retry_after=answer.retry_after)


def _code_of(platform: _Platform, document: Mapping[str, Any]) -> int | None:
    for name in platform.code:
        if isinstance(document.get(name), int):
            return int(document[name])
    return None


def _message_of(document: Mapping[str, Any]) -> str:
    told = document.get("errmsg") or document.get("msg") or ""
    # A vendor's message may repeat the robot's token.
    return re.sub(r"[0-9A-Za-z_-]{24,}", "***", " ".join(str(told).split()))[:160]


# ---- the three platforms ---------------------------------------------------------------------


def _names_line(speech: Speech) -> str:
    return _("请 %(names)s 处理") % {"names": "、".join(speech.names)} if speech.names else ""


def _with_keyword(robot: Robot, speech: Speech, text: str) -> str:
    """A robot that is guarded by a keyword says it in each message."""
    return f"{robot.keyword}\n" if robot.keyword and robot.keyword not in text else ""


def _wecom(robot: Robot, speech: Speech) -> tuple[str, dict[str, Any]]:
    # "text", not "markdown": only it mentions people by their mobile number.
    content = fitted(speech.text, 2048, after=_names_line(speech))
    text = {"content": content, "mentioned_mobile_list": list(speech.mobiles)}
    return robot.url, {"msgtype": "text", "text": text}


def _dingtalk(robot: Robot, speech: Speech) -> tuple[str, dict[str, Any]]:
    # "text": in "markdown" the words of a notice could draw pictures and hide addresses.
    at = "".join(f"@{mobile} " for mobile in speech.mobiles).strip()
    people = "\n".join(line for line in (_names_line(speech), at) if line)
    text = f"{speech.text.title}\n{speech.text.body}"
    before = _with_keyword(robot, speech, text).strip()
    content = fitted(speech.text, 6000, before=before, after=people)
    document = {
        "msgtype": "text",
        "text": {"content": content},
        "at": {"atMobiles": list(speech.mobiles), "isAtAll": False},
    }
    url = robot.url
    if robot.sign_secret:
        stamp = str(int(time.time() * 1000))
        signed = f"{stamp}\n{robot.sign_secret}".encode()
        sign = _mac(robot.sign_secret.encode(), signed)
        url = f"{url}&{urlencode({'timestamp': stamp, 'sign': sign})}"
    return url, document


def _feishu(robot: Robot, speech: Speech) -> tuple[str, dict[str, Any]]:
    # "post": its elements are taken as they are, while "text" would read <at> in a notice's words.
    before = _with_keyword(robot, speech, f"{speech.text.title}\n{speech.text.body}").strip()
    lines = [before, cut(speech.text.body, 6000), _names_line(speech)]
    content: list[list[dict[str, str]]] = [
        [{"tag": "text", "text": line}] for line in lines if line
    ]
    if speech.everybody:
        content.append([{"tag": "at", "user_id": "all"}])
    if speech.text.link:
        content.append([{"tag": "a", "text": _("打开查看"), "href": speech.text.link}])
    post_ = {"title": cut(speech.text.title, 300), "content": content}
    document: dict[str, Any] = {"msg_type": "post", "content": {"post": {"zh_cn": post_}}}
    if robot.sign_secret:
        stamp = str(int(time.time()))
        sign = _mac(f"{stamp}\n{robot.sign_secret}".encode(), b"")
        document = {"timestamp": stamp, "sign": sign, **document}
    return robot.url, document


def _mac(key: bytes, message: bytes) -> str:
    return base64.b64encode(hmac.digest(key, message, "sha256")).decode()


_GONE = gettext_lazy("机器人已被移除，或地址有误。请在群里重新添加机器人并粘贴新的地址")
_FAST = gettext_lazy("发送过于频繁，稍后自动重发")
_BUSY = gettext_lazy("平台繁忙，稍后自动重发")
_SIGN = gettext_lazy("签名不符。请核对加签密钥；若无误，请检查服务器时间")
_SAFETY = gettext_lazy(
    "安全设置不符（加签、关键词或 IP 地址段）。请核对加签密钥和关键词，或在群机器人的设置中修改"
)
_KEYWORD = gettext_lazy("消息中没有设定的关键词。请在此填写与群机器人设置相同的关键词")
_IP = gettext_lazy("服务器不在群机器人的 IP 白名单中。请在群机器人的设置中修改")
_STOPPED = gettext_lazy("机器人已被停用。请在群里启用机器人")

PLATFORMS: dict[str, _Platform] = {
    Kind.WECOM: _Platform(
        hosts=("qyapi.weixin.qq.com",),
        path=re.compile(r"/cgi-bin/webhook/send"),
        token="key",  # noqa: S106 - a parameter's name
        write=_wecom,
        code=("errcode",),
        # Source: developer.work.weixin.qq.com, global error codes.
        meanings={
            93000: ("gone", _GONE),
            93004: ("gone", _STOPPED),
            93008: ("gone", _GONE),
            45009: ("busy", _FAST),
            45033: ("busy", _FAST),
            -1: ("busy", _BUSY),
        },
    ),
    Kind.DINGTALK: _Platform(
        hosts=("oapi.dingtalk.com",),
        path=re.compile(r"/robot/send"),
        token="access_token",  # noqa: S106 - a parameter's name
        write=_dingtalk,
        code=("errcode",),
        # Source: open.dingtalk.com, custom robots. A robot that was too fast is shut out for ten minutes.
        meanings={
            310000: ("mend", _SAFETY),
            300001: ("gone", _GONE),
            300005: ("gone", _GONE),
            400013: ("gone", _GONE),
            400101: ("gone", _GONE),
            400102: ("gone", _STOPPED),
            130101: ("later", _FAST),
            410100: ("later", _FAST),
            -1: ("busy", _BUSY),
        },
    ),
    Kind.FEISHU: _Platform(
        hosts=("open.feishu.cn", "open.larksuite.com"),
        path=re.compile(r"/open-apis/bot/v2/hook/[0-9A-Za-z_-]{8,}"),
        token="",
        write=_feishu,
        code=("code", "StatusCode"),
        # Source: open.feishu.cn, guide to custom bots.
        meanings={
            19001: ("gone", _GONE),
            19021: ("mend", _SIGN),
            19022: ("mend", _IP),
            19024: ("mend", _KEYWORD),
            9499: ("mend", ""),
            11232: ("busy", _FAST),
            11233: ("busy", _FAST),
            99991400: ("busy", _FAST),
        },
    ),
}
