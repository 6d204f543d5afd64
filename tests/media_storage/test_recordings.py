"""Video and sound: how long, how large, and a picture of it, with the tools and without them."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from media_storage import bounded
from media_storage.recordings import POSTER_SECONDS, PROBE_SECONDS, look
from media_storage.refusals import Refused
from media_storage.results import SmallPicture, Told, understood
from tests.media_storage import pictures

needs_ffmpeg = pytest.mark.skipif(
    not pictures.has_ffmpeg(), reason="ffmpeg is not installed: make services"
)


@pytest.fixture(autouse=True)
def own_child() -> Iterator[None]:
    yield
    bounded.close()


def seen(content: bytes, signature: str = "iso-media", kind: str = "video") -> list[Any]:
    """In the bounded process, for what it starts must live with its limits."""
    with pictures.in_a_file(content) as file:
        options = {"signature": signature, "kind": kind, "side": 1600}
        with closing(bounded.stream("recording", file, **options)) as results:
            return [understood(each) for each in results]


def told(*given: Any) -> Told:
    first = seen(*given)[0]
    assert isinstance(first, Told)
    return first


@needs_ffmpeg
def test_a_video_has_its_duration_its_size_and_a_poster() -> None:
    found, small, large = seen(pictures.video())
    assert (found.width, found.height, found.note) == (640, 360, "")
    assert 1900 <= found.duration_ms <= 2200
    assert isinstance(small, SmallPicture)
    assert (small.name, small.width, small.height) == ("small", 320, 180)
    assert (large.name, large.width, large.height) == ("large", 640, 360)
    pixel = Image.open(io.BytesIO(large.data)).convert("RGB").getpixel((300, 100))
    assert isinstance(pixel, tuple)
    assert pixel[0] > 200
    assert max(pixel[1:]) < 60


@needs_ffmpeg
def test_a_video_that_was_held_upright_is_shown_upright() -> None:
    video = pictures.video()
    content = bytearray(video)
    matrix = content.index(b"tkhd") + 4 + 40
    content[matrix : matrix + 36] = struct.pack(
        ">9i", 0, 65536, 0, -65536, 0, 0, 360 << 16, 0, 1 << 30
    )
    found, small, _large = seen(bytes(content))
    assert (found.width, found.height) == (360, 640)
    assert (small.width, small.height) == (180, 320)


@needs_ffmpeg
@pytest.mark.parametrize(
    ("extension", "signature"), [(".m4a", "iso-media"), (".mp3", "mp3"), (".wav", "wav")]
)
def test_sound_has_its_duration_and_no_picture(extension: str, signature: str) -> None:
    [found] = seen(pictures.sound(extension), signature, "audio")
    assert 1900 <= found.duration_ms <= 2300
    assert (found.width, found.note) == (None, "")


@needs_ffmpeg
def test_what_an_old_phone_records_has_its_duration() -> None:
    assert told(pictures.amr(), "amr", "audio").duration_ms == 2000


@needs_ffmpeg
def test_a_video_by_a_decoder_that_we_do_not_trust_is_kept_without_a_poster() -> None:
    strange = pictures.recorded(
        *pictures.PICTURE, "-c:v", "mpeg2video", "-pix_fmt", "yuv420p", extension=".mp4"
    )
    [found] = seen(strange)
    assert found == Told(note="no_preview")


@needs_ffmpeg
@pytest.mark.parametrize("lie", [0x7FFF_FFFF, 0xFFFF_FFFE])
def test_a_duration_of_years_is_not_believed(lie: int) -> None:
    content = bytearray(pictures.video())
    for box in (b"mvhd", b"mdhd", b"tkhd"):
        place = content.index(box) + 4 + (20 if box == b"tkhd" else 16)
        content[place : place + 4] = struct.pack(">I", lie)
    found = told(bytes(content))
    assert found.duration_ms is None or found.duration_ms <= 7 * 86_400_000


def test_without_the_tools_the_container_is_looked_at_and_a_note_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    box = b"\x00\x00\x00\x10"
    whole = box + b"ftypmp42" + bytes(4) + box + b"moov" + bytes(8) + box + b"mdat" + bytes(8)
    [found] = look(io.BytesIO(whole), signature="iso-media", kind="video", side=1600)
    assert found == Told(note="no_tool")
    for broken in (whole[:-1], whole.replace(b"moov", b"free"), whole[:16]):
        with pytest.raises(Refused) as refused:
            list(look(io.BytesIO(broken), signature="iso-media", kind="video", side=1600))
        assert refused.value.code == "broken"


def test_a_makers_own_words_behind_the_last_box_are_no_harm(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    box = b"\x00\x00\x00\x10"
    whole = box + b"ftypmp42" + bytes(4) + box + b"moov" + bytes(8)
    for behind in (bytes(3), bytes(50), b"\xff" * 40):
        [found] = look(io.BytesIO(whole + behind), signature="iso-media", kind="video", side=1)
        assert found.note == "no_tool"


def test_the_tools_have_less_time_than_the_clock_of_their_job() -> None:
    from media_storage.bounded.limits import STANDARD
    from media_storage.bounded.programs import WALL_SECONDS

    assert STANDARD.wall_seconds > 3 * WALL_SECONDS
    assert max(PROBE_SECONDS, POSTER_SECONDS) < WALL_SECONDS
