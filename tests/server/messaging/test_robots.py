"""Robots of group chats: what they say, whom they mention, and what the platforms' answers mean."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from server.core.work import PermanentFailure, TemporaryFailure
from server.messaging.channels import channel_for
from server.messaging.channels.robots import RobotGone, WebhookRefused, parse_webhook, robot_of
from server.messaging.models import ChatGroup
from tests.server.messaging.worlds import World, add_robot, told, world_of


@pytest.fixture
def platform(cast, settings, log_in) -> Iterator[Callable[[str], World]]:
    with ExitStack() as stack:
        yield lambda kind: stack.enter_context(world_of(kind, cast, settings, log_in))


def send(world: World, **options: object) -> ChatGroup:
    row = world.make(**options)
    channel_for("robot").send(row)
    return row.group


def test_wecom_mentions_those_who_must_act_by_their_numbers(platform, cast):
    world = platform("wecom")
    cast.principal.phone = "13800000001"
    cast.principal.save()
    send(world)
    (document,) = world.server.said
    assert document["text"]["mentioned_mobile_list"] == ["13800000001"]
    assert "请 白校长 处理" in document["text"]["content"]


def test_dingtalk_mentions_them_in_the_words_too(platform, cast):
    world = platform("dingtalk")
    cast.principal.phone = "13800000001"
    cast.principal.save()
    send(world)
    (document,) = world.server.said
    assert document["at"] == {"atMobiles": ["13800000001"], "isAtAll": False}
    assert "@13800000001" in document["text"]["content"]


def test_feishu_names_them_and_calls_everybody_for_what_cannot_wait(platform):
    world = platform("feishu")
    send(world)
    (document,) = world.server.said
    post = document["content"]["post"]["zh_cn"]
    assert post["title"] == "整改已逾期：留样不足"
    assert {"tag": "at", "user_id": "all"} in [each for line in post["content"] for each in line]
    assert [{"tag": "text", "text": "请 白校长 处理"}] in post["content"]


def test_what_asks_nothing_mentions_nobody(platform, cast):
    world = platform("wecom")
    from server.messaging.services import notify

    notice = notify(
        "finding.closed", recipients=[cast.principal], school=cast.school, finding="留样不足"
    )
    channel_for("robot").send(notice.deliveries.get(channel="robot"))
    (document,) = world.server.said
    assert document["text"]["mentioned_mobile_list"] == []
    assert "处理" not in document["text"]["content"]


def test_only_the_schools_own_contacts_are_mentioned(platform, cast):
    world = platform("wecom")
    cast.ada.phone = "13900000009"
    cast.ada.save()
    send(world, recipients=[cast.principal, cast.ada])
    (document,) = world.server.said
    assert document["text"]["mentioned_mobile_list"] == [cast.principal.phone]
    assert "安督学" not in document["text"]["content"]


def test_a_notices_words_mention_nobody_in_feishu(platform):
    world = platform("feishu")
    send(world, finding='<at user_id="all">所有人</at>')
    (document,) = world.server.said
    lines = [each for line in document["content"]["post"]["zh_cn"]["content"] for each in line]
    assert [each["tag"] for each in lines if each["tag"] == "at"] == ["at"]  # ours, for the urgency


@pytest.mark.parametrize("kind", ["dingtalk", "feishu"])
def test_a_wrong_signature_tells_what_to_mend(platform, cast, kind):
    world = platform(kind)
    row = world.make()
    world.server.sign_secret = "SEC-other"
    with pytest.raises(PermanentFailure, match=r"加签|签名") as failure:
        channel_for("robot").send(row)
    assert not isinstance(failure.value, RobotGone)
    group = ChatGroup.objects.get()
    assert group.enabled
    assert group.last_failure == str(failure.value)
    assert group.last_failed_at is not None


@pytest.mark.parametrize("kind", ["dingtalk", "feishu"])
def test_a_server_whose_clock_is_wrong_is_told_so(platform, kind):
    world = platform(kind)
    world.server.skew = 7200
    with pytest.raises(PermanentFailure, match=r"310000|服务器时间"):
        channel_for("robot").send(world.make())


@pytest.mark.parametrize("kind", ["dingtalk", "feishu"])
def test_a_keyword_is_in_each_message(platform, cast, kind):
    world = platform(kind)
    ChatGroup.objects.all().delete()
    add_robot(cast, world.server, kind, sign_secret="", keyword="督导")
    send(world)
    (document,) = world.server.said
    assert "督导" in str(document)


@pytest.mark.parametrize("kind", ["dingtalk", "feishu"])
def test_a_missing_keyword_tells_what_to_mend(platform, cast, kind):
    world = platform(kind)
    ChatGroup.objects.all().delete()
    add_robot(cast, world.server, kind, sign_secret="")
    with pytest.raises(PermanentFailure, match="关键词"):
        channel_for("robot").send(world.make())


@pytest.mark.parametrize("kind", ["wecom", "dingtalk", "feishu"])
def test_a_robot_that_is_gone_disables_its_group_with_the_reason(platform, kind):
    world = platform(kind)
    row = world.make()
    world.server.queue.append(f"{kind}_gone")
    with pytest.raises(RobotGone, match="重新添加机器人"):
        channel_for("robot").send(row)
    group = ChatGroup.objects.get()
    assert not group.enabled
    assert "机器人已被移除" in group.disabled_reason
    row.group.refresh_from_db()
    with pytest.raises(PermanentFailure):
        channel_for("robot").send(row)
    assert len(world.server.requests) == 1


@pytest.mark.parametrize(
    ("kind", "answer", "wait"),
    [
        ("wecom", "wecom_fast", 60),
        ("wecom", "wecom_busy", 60),
        ("dingtalk", "dingtalk_fast", 600),
        ("feishu", "feishu_fast", 60),
        ("feishu", "feishu_limit", 60),
    ],
)
def test_too_fast_waits_as_long_as_the_platform_shuts_out(platform, kind, answer, wait):
    world = platform(kind)
    world.server.queue.append(answer)
    with pytest.raises(TemporaryFailure) as failure:
        channel_for("robot").send(world.make())
    assert failure.value.retry_after == wait


@pytest.mark.parametrize(
    ("kind", "answer", "words"),
    [("wecom", "wecom_odd", "40058"), ("feishu", "feishu_ip", "白名单")],
)
def test_what_the_platform_refuses_is_dead_with_its_words(platform, kind, answer, words):
    world = platform(kind)
    world.server.queue.append(answer)
    with pytest.raises(PermanentFailure, match=words):
        channel_for("robot").send(world.make())
    assert ChatGroup.objects.get().enabled


def test_a_success_is_noted_beside_the_group(platform):
    group = send(platform("wecom"))
    group.refresh_from_db()
    assert group.last_sent_at is not None


def test_a_robot_is_read_in_its_groups_language(platform, cast):
    world = platform("wecom")
    ChatGroup.objects.update(language="en")
    send(world)
    (document,) = world.server.said
    assert "整改已逾期" not in document["text"]["content"]
    assert "留样不足" in document["text"]["content"]


def test_the_hosts_of_today_decide_not_those_of_the_day_it_was_added(platform, settings):
    world = platform("wecom")
    row = world.make()
    settings.ROBOT_HOSTS = []
    with pytest.raises(PermanentFailure, match="只支持"):
        channel_for("robot").send(row)
    assert world.server.requests == []


def test_a_network_that_is_private_today_is_not_called(platform, settings):
    world = platform("wecom")
    row = world.make()
    settings.OUTBOUND_PRIVATE_NETWORKS = []
    with pytest.raises(PermanentFailure, match="内部网络"):
        channel_for("robot").send(row)
    assert world.server.requests == []


def test_keys_that_are_not_at_hand_are_the_operators_to_mend(platform, settings):
    world = platform("wecom")
    row = world.make()
    settings.SECRETS_KEYS = "5e" * 32
    with pytest.raises(TemporaryFailure):
        channel_for("robot").send(row)


def test_no_secret_in_any_representation(platform, cast):
    platform("dingtalk")
    group = ChatGroup.objects.get()
    robot = robot_of(group)
    assert "a1b2" in robot.url
    for shown in (repr(robot), str(robot), repr(group), str(group), group.secret):
        assert "a1b2" not in shown
        assert "SEC-abc123" not in shown


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=693a91f6", "wecom"),
        (" https://oapi.dingtalk.com/robot/send?access_token=abc \n", "dingtalk"),
        ("https://open.feishu.cn/open-apis/bot/v2/hook/6f2a1d0e-0b0a", "feishu"),
        ("https://open.larksuite.com/open-apis/bot/v2/hook/6f2a1d0e-0b0a", "feishu"),
    ],
)
def test_a_pasted_address_tells_its_platform(url, kind):
    assert parse_webhook(url) == kind


@pytest.mark.parametrize(
    "url",
    [
        "",
        "693a91f6-7a0a",
        "http://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=1",
        "https://qyapi.weixin.qq.com/cgi-bin/webhook/send",
        "https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=",
        "https://qyapi.weixin.qq.com/cgi-bin/gettoken?key=1",
        "https://qyapi.weixin.qq.com:8443/cgi-bin/webhook/send?key=1",
        "https://user@qyapi.weixin.qq.com/cgi-bin/webhook/send?key=1",
        "https://qyapi.weixin.qq.com.evil.example/cgi-bin/webhook/send?key=1",
        "https://evil.example/?https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=1",
        "https://127.0.0.1/cgi-bin/webhook/send?key=1",
        "https://169.254.169.254/latest/meta-data/",
        "https://oapi.dingtalk.com/robot/../topapi/x?access_token=1",
        "https://open.feishu.cn/open-apis/bot/v2/hook/",
        "https://[::1/robot",
        "https://oapi.dingtalk.com:port/robot/send?access_token=1",
        "file:///etc/passwd",
        "x" * 100_000,
    ],
)
def test_what_is_no_robots_address_is_refused(url):
    with pytest.raises(WebhookRefused):
        parse_webhook(url)


def test_one_message_per_notice_and_group_however_often_it_is_routed(platform, cast):
    world = platform("wecom")
    row = told(cast, "robot")
    from server.messaging.services import deliver

    deliver(row.notice, [cast.principal.pk])
    assert row.notice.deliveries.filter(channel="robot").count() == 1
    assert world.server.said == []
