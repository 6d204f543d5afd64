"""The fuzzer's seeds and every input that it once broke something with, replayed without it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.fuzz.targets import TARGETS

CORPUS = Path(__file__).parent / "corpus"
FILES = sorted(path for path in CORPUS.glob("*/*") if path.is_file())


@pytest.mark.parametrize("file", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_the_kept_inputs_are_read_or_refused_by_name(file: Path):
    began = time.process_time()
    TARGETS[file.parent.name](file.read_bytes())
    assert time.process_time() - began < 1


def test_every_target_has_seeds():
    assert {path.parent.name for path in FILES} == TARGETS.keys()
