"""`python -m server receipts …`: what an administrator types."""

from __future__ import annotations

import re
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from media_storage.models import MediaObject
from media_storage.stores import get_store
from server.activities.models import Submission
from server.receipts.keys import PrivateKey, new_seed, private_keys
from server.receipts.models import Chain, DayHead, Receipt
from tests.receipts import FIRST_KEY, SECOND_KEY, County

pytestmark = pytest.mark.django_db

FIRST = PrivateKey(bytes.fromhex(FIRST_KEY)).public


def said(*arguments: Any) -> str:
    out, err = StringIO(), StringIO()
    call_command("receipts", *map(str, arguments), stdout=out, stderr=err)
    return out.getvalue()


def code_of(*arguments: Any) -> int:
    with pytest.raises(SystemExit) as end:
        said(*arguments)
    return int(end.value.code)  # type: ignore[arg-type]


def test_keygen_prints_a_key_that_can_be_given():
    seed = said("keygen").strip()
    assert re.fullmatch(r"[0-9a-f]{64}", seed)
    assert seed != said("keygen").strip()


def test_make_makes_what_is_due_and_keys_are_shown(county: County):
    county.send("a")
    county.time.date_changes()
    assert said("make").startswith("2 receipts")
    assert said("keys").split()[-1] == FIRST


# ---- verify ------------------------------------------------------------------------------------


def test_verify_without_a_file_checks_the_database(chained: County):
    assert "Sound." in said("verify")
    assert "6 objects read" in said("verify", "--objects", "--key", FIRST)
    assert "2 objects read" in said("verify", "--sample", 2)
    head = DayHead.objects.get(number=2)
    assert "Sound." in said("verify", "--anchor", f"2026-11-24={head.hash}")
    assert code_of("verify", "--anchor", f"2026-11-24={'0' * 64}") == 1


def test_verify_ends_with_1_and_names_what_is_wrong(chained: County, capsys):
    row = Submission.objects.get(pk=chained.ids["photo"])
    Submission.objects.filter(pk=row.pk).update(answers={"licence": "yes"})
    out = StringIO()
    with pytest.raises(SystemExit) as end:
        call_command("receipts", "verify", stdout=out)
    assert end.value.code == 1
    assert f"(submission {row.pk}): answers" in out.getvalue()
    assert "NOT SOUND: 1 flaws" in out.getvalue()


def test_verify_reads_objects_only_when_told(chained: County):
    get_store().delete(MediaObject.objects.filter(filename="1.jpg").get().key)
    assert "Sound." in said("verify")
    assert code_of("verify", "--objects") == 1


def test_a_file_is_verified_without_the_database(chained: County, tmp_path: Path):
    path = tmp_path / "all.zip"
    said("export", path, "--documents")
    Receipt.objects.all().delete()
    Submission.objects.update(answers={})
    assert "Sound." in said("verify", path, "--key", FIRST)
    assert code_of("verify", tmp_path / "absent.zip") == 2
    assert code_of("verify", path, "--key", "nonsense") == 2


# ---- export ------------------------------------------------------------------------------------


def test_export_takes_days_a_school_by_its_code_and_an_activity(chained: County, tmp_path: Path):
    school, activity = chained.cast.school, chained.visit.activity
    for number, options in enumerate(
        (
            ["--from", "2026-11-24", "--to", "2026-11-24"],
            ["--school", school.code],
            ["--school", school.pk],
            ["--activity", activity.pk, "--school", school.code, "--documents"],
        )
    ):
        path = tmp_path / f"{number}.zip"
        assert str(path) in said("export", path, *options)
        assert "Sound." in said("verify", path, "--key", FIRST)


def test_export_of_what_is_not_there_is_refused_and_leaves_nothing(chained: County, tmp_path: Path):
    path = tmp_path / "x.zip"
    for options in (["--school", "0000000000"], ["--activity", "0" * 32]):
        with pytest.raises(CommandError, match="there is no"):
            said("export", path, *options)
    assert list(tmp_path.glob("*.zip*")) == []


# ---- rotate ------------------------------------------------------------------------------------


@pytest.fixture
def begun(county: County, settings, tmp_path: Path) -> Path:
    """A chain on the embedded world's key, and the file that holds it."""
    path = tmp_path / "receipt-key"
    settings.RECEIPT_KEY, settings.RECEIPT_KEY_FILE, settings.RECEIPT_KEY_MADE = "", str(path), True
    county.make()
    return path


def test_rotate_adds_a_key_to_the_file_and_the_chain_goes_on_with_it(begun: Path, county: County):
    (old,) = private_keys()
    said("rotate")
    assert len(begun.read_text().split()) == 2
    assert Chain.objects.get().key in set(private_keys()) - {old}
    row = county.send("a")
    county.make()
    assert Receipt.objects.get(subject=row.pk).key == Chain.objects.get().key
    assert "Sound." in said("verify")
    # The old line may go now.
    begun.write_text(begun.read_text().split()[1] + "\n")
    county.send("b")
    assert county.make() == 1


def test_rotate_takes_the_new_key_of_a_file_or_of_the_setting(county: County, settings, tmp_path):
    settings.RECEIPT_KEY = FIRST_KEY
    county.make()
    with pytest.raises(CommandError, match="must hold the present key and one new key"):
        said("rotate")
    path = tmp_path / "new-key"
    path.write_text(new_seed())
    assert "this key signs" in said("rotate", "--to", path)
    settings.RECEIPT_KEY = f"{path.read_text()},{SECOND_KEY}"
    said("rotate")
    assert Chain.objects.get().key == PrivateKey(bytes.fromhex(SECOND_KEY)).id
    settings.RECEIPT_KEY = SECOND_KEY
    assert "Sound." in said("verify", "--key", FIRST)


def test_rotate_to_a_file_without_a_key_is_refused(begun: Path, tmp_path: Path):
    with pytest.raises(CommandError, match="one private key"):
        said("rotate", "--to", tmp_path / "absent")


def test_a_file_that_may_not_be_written_is_said_to_be_so(begun: Path, monkeypatch):
    def refuse(*_arguments: Any) -> None:
        raise PermissionError("read-only")

    monkeypatch.setattr("server.receipts.management.commands.receipts.add_to_file", refuse)
    with pytest.raises(CommandError, match="keygen"):
        said("rotate")
    assert Receipt.objects.filter(kind="key").count() == 1


def test_a_lost_key_is_replaced_and_said_so_to_who_verifies(begun: Path, county: County):
    (old,) = private_keys().values()
    begun.unlink()
    with pytest.raises(CommandError, match="the chain is signed by key"):
        said("rotate")
    said("rotate", "--lost")
    county.send("a")
    assert county.make() == 1
    assert "Sound." in said("verify")
    assert code_of("verify", "--key", old.public) == 1
