"""Others' credentials: unreadable without the keys, moved to new keys, made once for a try-out."""

from __future__ import annotations

import stat
from pathlib import Path
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command

from server.core.secrets import (
    KeysUnusable,
    SecretUnreadable,
    given_keys,
    new_key,
    seal,
    unseal,
)
from server.messaging.channels.robots import PURPOSE, robot_of
from server.messaging.chat_groups import RobotGiven, add_chat_group
from server.messaging.models import ChatGroup

WEBHOOK = "https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=693a91f6-7a0a-4bc4"


@pytest.fixture
def keys(settings) -> list[str]:
    settings.SECRETS_KEYS = f"{new_key()},{new_key()}"
    return settings.SECRETS_KEYS.split(",")


def test_what_was_sealed_is_opened_and_cannot_be_read(keys):
    sealed = seal("机密 webhook", purpose="test")
    assert "webhook" not in sealed
    assert unseal(sealed, purpose="test") == "机密 webhook"
    assert seal("机密 webhook", purpose="test") != sealed


def test_what_was_sealed_for_one_purpose_opens_in_no_other_place(keys):
    with pytest.raises(SecretUnreadable):
        unseal(seal("x", purpose="one"), purpose="other")


def test_a_changed_text_is_not_opened(keys):
    sealed = seal("x" * 40, purpose="test")
    middle = len(sealed) // 2
    other = "A" if sealed[middle] != "A" else "B"
    with pytest.raises(SecretUnreadable):
        unseal(sealed[:middle] + other + sealed[middle + 1 :], purpose="test")


def test_a_new_key_in_front_seals_and_the_old_one_still_opens(keys, settings):
    sealed = seal("x", purpose="test")
    added = new_key()
    settings.SECRETS_KEYS = f"{added},{keys[0]}"
    assert unseal(sealed, purpose="test") == "x"
    again = seal("x", purpose="test")
    settings.SECRETS_KEYS = added
    assert unseal(again, purpose="test") == "x"
    with pytest.raises(SecretUnreadable):
        unseal(sealed, purpose="test")


def test_rotation_moves_every_row_and_names_those_that_no_key_opens(cast, keys, settings, capsys):
    def group(number: int) -> ChatGroup:
        robot = RobotGiven(webhook=f"{WEBHOOK}-{number}")
        return add_chat_group(
            group_id=uuid4(), by=cast.principal, name="群", school_id=cast.school.pk, robot=robot
        )

    kept, lost = group(1), group(2)
    ChatGroup.objects.filter(pk=lost.pk).update(secret="rubbish")
    added = new_key()
    settings.SECRETS_KEYS = f"{added},{keys[0]}"
    with pytest.raises(CommandError, match="key that was taken away"):
        call_command("secrets", "rotate")
    assert (
        "messaging.ChatGroup.secret: 1 encrypted anew, 1 that no key opens"
        in capsys.readouterr().out
    )
    settings.SECRETS_KEYS = added
    kept.refresh_from_db()
    lost.refresh_from_db()
    assert robot_of(kept).url == f"{WEBHOOK}-1"
    assert lost.secret == "rubbish"


def test_the_embedded_world_makes_a_private_key_once(settings, tmp_path: Path):
    settings.SECRETS_KEYS_FILE = str(tmp_path / "var" / "secrets-keys")
    sealed = seal("x", purpose=PURPOSE)
    file = Path(settings.SECRETS_KEYS_FILE)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    settings.SECRETS_KEYS_FILE = str(file)  # asked anew
    assert unseal(sealed, purpose=PURPOSE) == "x"


def test_production_makes_none(settings, tmp_path: Path):
    settings.SECRETS_KEYS_MADE = False
    settings.SECRETS_KEYS_FILE = str(tmp_path / "absent")
    with pytest.raises(KeysUnusable):
        seal("x", purpose="test")


@pytest.mark.parametrize("text", ["short-secret", "5f" * 33, f"{'5f' * 32} more"])
def test_what_is_no_key_is_refused_and_not_repeated(text):
    with pytest.raises(KeysUnusable) as refusal:
        given_keys(text, "")
    assert text.split()[0] not in str(refusal.value)


def test_a_generated_key_is_one(capsys):
    call_command("secrets", "keygen")
    key = capsys.readouterr().out.strip()
    assert given_keys(key, "") == [key]
