"""Video and sound: the container's shape without any tool, the rest by ffprobe and ffmpeg.

Runs in the bounded process. The tools are told which kind of file to expect, so that a play list cannot
lead them elsewhere, and which decoders to use.
"""

from __future__ import annotations

import io
import json
import math
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, BinaryIO

from media_storage import single_type
from media_storage.bounded.programs import Ended, run_program
from media_storage.refusals import Reason, Refused
from media_storage.results import SmallPicture, Told

PROBE_SECONDS, POSTER_SECONDS = 5, 10
MAX_REPORT = 1024 * 1024
MAX_POSTER = 16 * 1024 * 1024
MAX_PIXELS = 40_000_000
LONGEST_MS = 7 * 86_400_000
"""No phone records for a week: a longer duration is a lie."""

ISO_MEDIA = "iso-media"
_DEMUXERS = {ISO_MEDIA: "mov", "amr": "amr", "mp3": "mp3", "wav": "wav"}
_DECODERS = "h264,hevc,mpeg4,h263,vp8,vp9,av1,libdav1d,mjpeg"
_SOUNDS = (
    "aac,alac,flac,opus,vorbis,mp2,mp2float,mp3,mp3float,ac3,eac3"
    ",amrnb,amrwb,libopencore_amrnb,libopencore_amrwb,adpcm_ima_qt,adpcm_ima_wav,adpcm_ms"
    ",pcm_u8,pcm_s16le,pcm_s16be,pcm_s24le,pcm_s24be,pcm_s32le,pcm_f32le,pcm_alaw,pcm_mulaw"
)
_BOXES = 10_000


def look(file: BinaryIO, *, signature: str, kind: str, side: int) -> Iterator[Told | SmallPicture]:
    """The job "recording": duration and, for a "video", size and poster. Raises Refused.

    `kind`: "video" or "audio", as declared. Without the tools only the container is looked at, and a
    note says so.
    """
    single_type.check(file, signature)
    if signature == ISO_MEDIA:
        _check_boxes(file)
    if not (shutil.which("ffprobe") and shutil.which("ffmpeg")):
        yield Told(note="no_tool")
        return
    report = _probe(file, signature)
    if report is None:
        yield Told(note="no_preview")
        return
    told = Told(duration_ms=_duration(report))
    if kind == "audio":
        _check_audio(report)
        yield told
        return
    stream = _video(report)
    told.width, told.height = _size(stream)
    yield from _poster(file, signature, told, side)


def _check_boxes(file: BinaryIO) -> None:
    """Box after box to the very end: a recording that broke off, or was cut, has no index or half a box."""
    size = file.seek(0, os.SEEK_END)
    place, found = 0, set()
    for _ in range(_BOXES):
        if place + 8 > size:
            break
        file.seek(place)
        head = file.read(16)
        length, name = int.from_bytes(head[:4], "big"), head[4:8]
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        elif length == 0:
            length = size - place
        if length < 8 or not name.isascii():
            break  # a maker's own words behind the last box
        if place + length > size:
            raise Refused(Reason.BROKEN, f"cut off within {name!r}")
        found.add(name)
        place += length
    if not found & {b"moov", b"moof"}:
        raise Refused(Reason.BROKEN, "no index")


def _probe(file: BinaryIO, signature: str) -> Mapping[str, Any] | None:
    """None where it would take a decoder that we do not let loose on strangers' files."""
    entries = (
        "format=duration:stream=codec_type,width,height,duration"
        ":stream_disposition=attached_pic:stream_side_data=rotation"
    )
    command = [
        *("ffprobe", "-v", "error", *_input(signature)),
        *("-codec_whitelist", f"{_DECODERS},{_SOUNDS}"),
        *("-show_entries", entries, "-of", "json", "{file}"),
    ]
    ended = run_program(command, file, cpu_seconds=PROBE_SECONDS, most=MAX_REPORT)
    if ended.code and "not on whitelist" in ended.errors:
        return None
    if ended.code:
        raise Refused(_why(ended), f"ffprobe {ended.code}: {ended.errors[-300:]}")
    try:
        report = json.loads(ended.output)
    except ValueError as error:
        raise Refused(Reason.BROKEN, str(error)) from error
    if not report.get("streams"):
        raise Refused(Reason.BROKEN, "nothing recorded")
    return report  # type: ignore[no-any-return]


def _input(signature: str) -> Sequence[str]:
    return ("-protocol_whitelist", "file", "-f", _DEMUXERS[signature])


def _why(ended: Ended) -> Reason:
    return Reason.TOO_SLOW if ended.out_of_time else Reason.BROKEN


def _duration(report: Mapping[str, Any]) -> int | None:
    told = [report.get("format", {}), *report["streams"]]
    for each in told:
        try:
            milliseconds = float(each["duration"]) * 1000
        except (KeyError, ValueError, TypeError):
            continue
        if math.isfinite(milliseconds) and 0 <= milliseconds <= LONGEST_MS:
            return round(milliseconds)
    return None


def _streams(report: Mapping[str, Any], kind: str) -> list[Mapping[str, Any]]:
    """The cover of a piece of music is no video."""
    return [
        each
        for each in report["streams"]
        if each.get("codec_type") == kind and not each.get("disposition", {}).get("attached_pic")
    ]


def _check_audio(report: Mapping[str, Any]) -> None:
    if not _streams(report, "audio") or _streams(report, "video"):
        raise Refused(Reason.TYPE_MISMATCH, "no sound, or a video")


def _video(report: Mapping[str, Any]) -> Mapping[str, Any]:
    found = _streams(report, "video")
    if not found:
        raise Refused(Reason.TYPE_MISMATCH, "no video")
    return found[0]


def _size(stream: Mapping[str, Any]) -> tuple[int, int]:
    """As displayed."""
    width, height = stream.get("width"), stream.get("height")
    if not (isinstance(width, int) and isinstance(height, int) and width > 0 < height):
        raise Refused(Reason.BROKEN, f"{width} x {height}")
    if width * height > MAX_PIXELS:
        raise Refused(Reason.TOO_MANY_PIXELS, f"{width} x {height}")
    turns = [each.get("rotation") for each in stream.get("side_data_list", [])]
    turned = any(isinstance(turn, int | float) and turn % 180 == 90 for turn in turns)
    return (height, width) if turned else (width, height)


def _poster(file: BinaryIO, signature: str, told: Told, side: int) -> Iterator[Told | SmallPicture]:
    """A frame from near the beginning, where the camera has found its exposure; else the first."""
    from PIL import Image

    from media_storage.imaging import renditions

    seconds = min(1.0, (told.duration_ms or 0) / 3000)
    for start in (seconds, 0.0):
        ended = _frame(file, signature, start, side)
        if ended.code == 0 and ended.output:
            with Image.open(io.BytesIO(ended.output), formats=["PPM"]) as image:
                yield from renditions(image.convert("RGB"), told)
            return
        if ended.out_of_time or start == 0:
            break
    told.note = "no_preview"
    yield told


def _frame(file: BinaryIO, signature: str, start: float, side: int) -> Ended:
    fitting = f"scale=w='min({side},iw)':h='min({side},ih)':force_original_aspect_ratio=decrease"
    command = [
        *("ffmpeg", "-v", "error", "-nostdin", "-threads", "1", *_input(signature)),
        *("-codec_whitelist", _DECODERS, "-max_pixels", str(MAX_PIXELS)),
        *("-an", "-sn", "-dn", "-ss", f"{start:.3f}", "-i", "{file}"),
        *("-frames:v", "1", "-vf", fitting, "-filter_threads", "1", "-threads", "1"),
        *("-f", "image2pipe", "-c:v", "ppm", "-pix_fmt", "rgb24", "-"),
    ]
    return run_program(command, file, cpu_seconds=POSTER_SECONDS, most=MAX_POSTER)
