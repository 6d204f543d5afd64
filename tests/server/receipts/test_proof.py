"""The format: one way to write a value, the tree of RFC 6962, what may be added and what may not."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.receipts import proof
from server.receipts.keys import PrivateKey
from server.receipts.proof import (
    DAY,
    Statement,
    Unreadable,
    canonical,
    differences,
    is_signed_by,
    key_id,
    leaf,
    parse,
    path_in,
    root,
    root_by_path,
)

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner),
    max_leaves=10,
)
HASHES = st.lists(st.binary(min_size=32, max_size=32).map(bytes.hex), min_size=1, max_size=70)


@given(VALUES)
def test_a_value_has_one_way_to_be_written_and_reads_back_as_itself(value: Any):
    raw = canonical(value)
    assert parse(raw) == value
    assert canonical(parse(raw)) == raw
    assert json.loads(raw) == value


def test_the_order_of_keys_and_white_space_do_not_matter():
    assert canonical({"b": 1, "a": "校"}) == '{"a":"校","b":1}'.encode()
    assert canonical(parse(b' { "b" : 1 , "a" : "\\u6821" } ')) == canonical({"a": "校", "b": 1})


@pytest.mark.parametrize(
    "raw", [b"1.5", b"[1e3]", b"NaN", b'{"a":1,"a":2}', b"{", b"\xff", b"[" * 10**5]
)
def test_what_could_be_written_in_two_ways_or_not_at_all_is_refused(raw: bytes):
    with pytest.raises(Unreadable):
        parse(raw)


def test_a_fraction_is_never_written():
    with pytest.raises(Unreadable):
        canonical({"a": [1, {"b": 1.5}]})


# ---- the tree ----------------------------------------------------------------------------------


def rfc_6962(leaves: list[bytes]) -> bytes:
    """The definition of section 2.1, word for word."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return hashlib.sha256(b"\x01" + rfc_6962(leaves[:split]) + rfc_6962(leaves[split:])).digest()


@given(st.lists(st.binary(min_size=32, max_size=32), max_size=70))
def test_the_root_is_that_of_the_rfc(hashes: list[bytes]):
    assert root([leaf(each.hex()) for each in hashes]) == rfc_6962(hashes)


@given(HASHES, st.data())
def test_a_way_leads_to_the_root_from_its_own_leaf_and_place_alone(hashes: list[str], data):
    leaves = [leaf(each) for each in hashes]
    index = data.draw(st.integers(0, len(leaves) - 1))
    way = path_in(leaves, index)
    assert root_by_path(leaves[index], index, len(leaves), way) == root(leaves)
    stranger = leaf(hashlib.sha256(leaves[index]).hexdigest())
    assert root_by_path(stranger, index, len(leaves), way) != root(leaves)
    assert root_by_path(leaves[index], index, len(leaves), [*way, leaves[0]]) is None
    if way:
        assert root_by_path(leaves[index], index, len(leaves), way[1:]) is None


@given(st.integers(1, 40), st.data())
def test_a_tree_cut_at_powers_of_two_is_the_same_tree(count: int, data):
    leaves = [leaf(f"{number:064x}") for number in range(count)]
    index = data.draw(st.integers(0, count - 1))
    nodes = [root(leaves[at : at + 8]) for at in range(0, count, 8)]
    assert root(nodes) == root(leaves)
    part = leaves[index // 8 * 8 :][:8]
    assert path_in(part, index % 8) + path_in(nodes, index // 8) == path_in(leaves, index)


# ---- statements --------------------------------------------------------------------------------

KEY = PrivateKey(bytes.fromhex("a1" * 32))


def day(**changes: Any) -> dict[str, Any]:
    body = {
        **{"type": DAY, "number": 1, "day": "2026-11-23", "zone": "Asia/Shanghai", "first": 1},
        **{"count": 0, "root": root([]).hex(), "previous": None, "key": KEY.id},
        **{"closed_at": "2026-11-23T16:10:00.000000Z"},
    }
    return {**body, **changes}


@pytest.mark.parametrize(
    "changes",
    [
        *({"number": "1"}, {"number": True}, {"day": "2026-11-31"}, {"day": "20261123"}),
        *({"root": "00"}, {"previous": 3}, {"more": 1}, {"type": "duxue-day/2"}, {"type": 7}),
    ],
)
def test_a_statement_of_another_shape_is_no_statement(changes: dict):
    Statement.read({"signed": day(), "signature": "00"})
    with pytest.raises(Unreadable):
        Statement.read({"signed": day(**changes), "signature": "00"})


@pytest.mark.parametrize(
    "envelope", [None, [], {}, {"signed": day()}, {"signed": 1, "signature": ""}]
)
def test_what_is_no_envelope_is_refused(envelope: Any):
    with pytest.raises(Unreadable):
        Statement.read(envelope)


def test_stored_bytes_must_be_the_canonical_ones():
    raw = canonical(day())
    assert Statement.of(raw, "00").hash == hashlib.sha256(raw).hexdigest()
    with pytest.raises(Unreadable):
        Statement.of(raw.replace(b'"count":0', b'"count": 0'), "00")


def test_a_signature_is_of_these_bytes_by_this_key_and_written_in_one_way():
    raw = canonical(day())
    signature = KEY.sign(raw)
    assert is_signed_by(KEY.public, signature, raw)
    assert not is_signed_by(KEY.public, signature, raw + b" ")
    assert not is_signed_by(KEY.public, signature.upper(), raw)
    assert not is_signed_by(PrivateKey(bytes.fromhex("b2" * 32)).public, signature, raw)
    assert not is_signed_by("zz", signature, raw)


def test_ed25519_is_that_of_the_rfc():
    # RFC 8032, section 7.1, test 2.
    key = PrivateKey(
        bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
    )
    assert key.public == "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
    assert key.sign(b"\x72").startswith("92a009a9f0d4cab8720e820b5f642540")
    assert (
        key.id == key_id(key.public) == hashlib.sha256(bytes.fromhex(key.public)).hexdigest()[:16]
    )


def test_openssl_and_sha256sum_say_the_same(tmp_path: Path):
    """An auditor needs nothing of ours: docs/receipts.md shows these commands."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    raw = canonical(day())
    (tmp_path / "signed.json").write_bytes(raw)
    (tmp_path / "signature").write_bytes(bytes.fromhex(KEY.sign(raw)))
    prefix = bytes.fromhex("302a300506032b6570032100")  # RFC 8410: the key's algorithm
    (tmp_path / "key.der").write_bytes(prefix + bytes.fromhex(KEY.public))
    command = [openssl, "pkeyutl", "-verify", "-pubin", "-keyform", "DER", "-inkey", "key.der"]
    command += ["-rawin", "-in", "signed.json", "-sigfile", "signature"]
    said = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "Signature Verified Successfully" in said.stdout, said.stderr
    (tmp_path / "signed.json").write_bytes(raw.replace(b'"number":1', b'"number":2'))
    assert subprocess.run(command, cwd=tmp_path, capture_output=True, check=False).returncode != 0


# ---- what may be added -------------------------------------------------------------------------

PHOTO = {"id": "1", "sha256": "aa" * 32, "size": 7}
OTHER = {"id": "2", "sha256": "bb" * 32, "size": 7}


def files(**media: Any) -> dict[str, Any]:
    return {"files": [{"name": name, "media": each} for name, each in media.items()]}


@pytest.mark.parametrize(
    ("earlier", "later", "places"),
    [
        ({"visit": None}, {"visit": "v"}, []),
        ({"visit": "v"}, {"visit": None}, ["visit"]),
        ({"visit": "v"}, {"visit": "w"}, ["visit"]),
        ({"sender": None}, {"sender": "s"}, ["sender"]),
        ({}, {"visit": "v"}, ["visit"]),
        ({"labels": {"school": "a"}}, {"labels": {"school": "b"}}, []),
        (files(a=None), files(a=PHOTO), []),
        (files(a=PHOTO), files(a=PHOTO), []),
        (files(a=PHOTO), files(a=None), ["files/a"]),
        (files(a=PHOTO), files(), ["files/a"]),
        (files(a=None), files(), ["files/a"]),
        (files(), files(a=PHOTO), ["files/a"]),
        (files(), files(a=None), ["files/a"]),
        (files(a=PHOTO), files(a=OTHER), ["files/a/id", "files/a/sha256"]),
    ],
)
def test_a_visit_and_missing_files_may_be_added_and_nothing_else_may_change(earlier, later, places):
    assert [place for place, _was, _is in differences(earlier, later)] == places


def test_the_verifier_stands_on_python_and_cryptography_alone():
    code = (
        "import sys; import server.receipts.offline; "
        "print(sorted({name.partition('.')[0] for name in sys.modules} & {'django', 'server'}))"
    )
    root_folder = Path(str(proof.__file__)).parents[2]
    said = subprocess.run(
        [sys.executable, "-c", code], cwd=root_folder, capture_output=True, text=True, check=True
    )
    assert said.stdout.strip() == "['server']"
