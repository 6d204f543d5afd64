"""The hostile corpus gets the verdicts that docs/media-hostile.md promises, for the stated cost."""

from __future__ import annotations

import os
import sys

import pytest

from media_storage.bounded.limits import STANDARD
from tests.media_storage.hostile import CASES, PAGE_OF_RESULTS, Case, judge
from tests.media_storage.pictures import has_ffmpeg

pytestmark = [
    pytest.mark.skipif(
        bool(os.environ.get("DATABASE_URL")), reason="no database in it: once is enough"
    ),
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="measures by /proc"),
]


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, while a file is made
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_hostile_file_gets_its_verdict_for_the_stated_cost(case: Case) -> None:
    if case.needs_ffmpeg and not has_ffmpeg():
        pytest.skip("ffmpeg is not installed: make services")
    seen = judge(case.make(), case.content_type)
    assert (seen.verdict, seen.note) == (case.verdict, case.note)
    assert seen.peak_bytes < STANDARD.memory_bytes
    # Besides the job: starting Python, and the second that the system counts in.
    assert seen.cpu_seconds < STANDARD.cpu_seconds + 3
    if case.verdict == "ready":
        assert seen.peak_bytes < 0.65 * STANDARD.memory_bytes, "too near to the bound"


def test_the_page_has_a_line_for_each_with_its_verdict() -> None:
    lines = {}
    for line in PAGE_OF_RESULTS.read_text().splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) > 4:
            lines[cells[1]] = cells[3]
    for case in CASES:
        assert case.verdict in lines[case.name], case.name
        assert case.note in lines[case.name], case.name
    assert len({case.name for case in CASES}) == len(CASES)
