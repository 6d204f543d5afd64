"""Private keys: given by the settings, or made once, readable for nobody else."""

from __future__ import annotations

import stat
import threading
from pathlib import Path

import pytest

from server.receipts.keys import (
    KeyUnusable,
    PrivateKey,
    add_to_file,
    given_seeds,
    new_seed,
    private_keys,
    seeds_in,
)


@pytest.fixture
def file(settings, tmp_path: Path) -> Path:
    """The embedded world's key file, which is not there yet."""
    path = tmp_path / "var" / "receipt-key"
    settings.RECEIPT_KEY, settings.RECEIPT_KEY_FILE = "", str(path)
    settings.RECEIPT_KEY_MADE = True
    return path


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_embedded_world_makes_a_key_once_and_keeps_it_to_itself(file: Path):
    assert private_keys() == {}
    (first,) = private_keys(make=True)
    (second,) = private_keys(make=True)
    assert first == second
    assert mode(file) == 0o600
    assert [path.name for path in file.parent.iterdir()] == ["receipt-key"]


def test_processes_that_make_a_key_at_the_same_moment_have_the_same_one(file: Path):
    start, found = threading.Barrier(8), []

    def make() -> None:
        start.wait(10)
        found.append(tuple(private_keys(make=True)))

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1


def test_production_makes_none(file: Path, settings):
    settings.RECEIPT_KEY_MADE = False
    assert private_keys(make=True) == {}
    assert not file.exists()


def test_several_keys_may_be_given_in_the_setting_or_as_lines_of_a_file(tmp_path: Path):
    one, two = new_seed(), new_seed()
    assert given_seeds(f"{one}, {two}", "") == [one, two]
    path = tmp_path / "keys"
    path.write_text(f"# the old one\n{one}\n\n{two}\n", encoding="ascii")
    assert given_seeds("", str(path)) == [one, two]
    assert given_seeds(two, str(path)) == [two]  # the setting stands before the file
    assert given_seeds("", str(tmp_path / "absent")) == []


@pytest.mark.parametrize("text", ["secret-but-short", "a1" * 33, f"{'a1' * 32} and more"])
def test_what_is_no_key_is_refused_and_not_repeated(text: str):
    with pytest.raises(KeyUnusable) as refusal:
        seeds_in(text)
    assert text.split(maxsplit=1)[0] not in str(refusal.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path):
    with pytest.raises(KeyUnusable, match="RECEIPT_KEY_FILE"):
        given_seeds("", str(tmp_path))


def test_a_key_that_is_added_leaves_the_others_and_stays_private(file: Path):
    private_keys(make=True)
    seed = new_seed()
    add_to_file(file, seed)
    assert len(private_keys()) == 2
    assert PrivateKey(bytes.fromhex(seed)).id in private_keys()
    assert mode(file) == 0o600


def test_a_key_does_not_show_its_seed():
    assert "a1a1" not in repr(PrivateKey(bytes.fromhex("a1" * 32)))
