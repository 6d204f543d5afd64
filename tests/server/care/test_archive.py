"""The ZIP as a stream, and names that every system takes."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tracemalloc
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from server.care import archive
from server.care.archive import Entry, Paths, safe_name, zip_stream

AT = datetime(2026, 11, 23, 2, 30, 6, tzinfo=UTC)


def entry(path: str, content: bytes) -> Entry:
    pieces = (content[start : start + 1000] for start in range(0, len(content), 1000))
    return Entry(path, AT, len(content), pieces)


def test_what_went_in_comes_out(tmp_path: Path) -> None:
    files = {
        "东河镇中心小学/2026-11-23 安督学/食堂/照片.jpg": os.urandom(30_000),
        "空.txt": b"",
        "manifest.csv": "﻿文件".encode(),
    }
    content = b"".join(zip_stream(entry(path, data) for path, data in files.items()))
    with zipfile.ZipFile(io.BytesIO(content)) as opened:
        assert opened.testzip() is None
        assert {info.filename: opened.read(info) for info in opened.infolist()} == files
        assert {info.compress_type for info in opened.infolist()} == {zipfile.ZIP_STORED}
        assert all(info.flag_bits & 0x800 for info in opened.infolist() if "照片" in info.filename)
        assert opened.infolist()[0].date_time == (2026, 11, 23, 10, 30, 6)


@pytest.mark.skipif(not shutil.which("unzip"), reason="unzip is not installed")
def test_another_program_reads_it(tmp_path: Path) -> None:
    made = tmp_path / "export.zip"
    made.write_bytes(b"".join(zip_stream([entry("学校/a.jpg", b"x" * 70_000)])))
    assert subprocess.run(["unzip", "-tqq", made], check=False).returncode == 0


def test_it_takes_more_files_than_an_old_zip_holds() -> None:
    content = b"".join(zip_stream(Entry(f"{n}", AT, 0, ()) for n in range(65_600)))
    with zipfile.ZipFile(io.BytesIO(content)) as opened:
        assert len(opened.infolist()) == 65_600


def test_a_file_above_4_gib_is_marked_so() -> None:
    header = archive._header(Entry("a", AT, 2**32 + 1, ()))
    sink = archive._Sink()
    with zipfile.ZipFile(sink, "w") as made:  # type: ignore[call-overload]
        file = made.open(header, "w")
        local = sink.taken()
        assert int.from_bytes(local[4:6], "little") == 45  # needs a program that knows zip64
        file.close()


def test_memory_does_not_grow_with_the_archive() -> None:
    piece = bytes(100_000)

    def content() -> Iterator[bytes]:
        for _ in range(400):
            yield piece

    tracemalloc.start()
    try:
        total = sum(
            map(len, zip_stream(Entry(f"{n}", AT, 40_000_000, content()) for n in range(2)))
        )
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert total > 80_000_000
    assert peak < 2_000_000


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("食堂.jpg", "食堂.jpg"),
        ('a<b>c:d"e/f\\g|h?i*j', "a_b_c_d_e_f_g_h_i_j"),
        ("CON", "_CON"),
        ("nul.txt", "_nul.txt"),
        ("com1.jpg", "_com1.jpg"),
        ("合同. ", "合同"),
        ("..", "_"),
        ("", "_"),
        ("a\x00b\u202ec", "a_bc"),
        ("  两  空格  ", "两 空格"),
    ],
)
def test_a_name_is_safe_on_windows(name: str, safe: str) -> None:
    assert safe_name(name) == safe


def test_a_long_name_keeps_its_ending() -> None:
    name = safe_name("很" * 200 + ".jpeg")
    assert len(name) == archive.MAX_PART
    assert name.endswith(".jpeg")


def test_paths_differ_also_where_case_does_not_count() -> None:
    paths = Paths()
    assert paths.unique("学校", "IMG.jpg") == "学校/IMG.jpg"
    assert paths.unique("学校", "img.JPG") == "学校/img (2).JPG"
    assert paths.unique("学校", "IMG.jpg") == "学校/IMG (3).jpg"
    assert paths.unique("学校/../..", "x") == "学校_.._/x"
