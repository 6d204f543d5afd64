"""The process that decodes strangers' files: what it may cost, how it dies, what it is not given."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import IO, Any

import pytest

from media_storage import bounded
from media_storage.bounded import parent
from media_storage.bounded.jobs import JOBS, Job
from media_storage.bounded.limits import Limits
from tests.media_storage import jobs as played

OF_THE_PRODUCT = dict(JOBS)
ROOT = Path(__file__).resolve().parents[2]
SMALL = Limits(memory_bytes=256 << 20, cpu_seconds=1, wall_seconds=30)

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")


@pytest.fixture(autouse=True)
def known_jobs(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every function of tests.media_storage.jobs is a job."""
    for name in vars(played):
        if name.startswith("_"):
            continue
        monkeypatch.setitem(JOBS, name, Job(f"tests.media_storage.jobs:{name}", SMALL))
    bounded.close()
    yield
    bounded.close()


@pytest.fixture
def file() -> Iterator[IO[bytes]]:
    with tempfile.TemporaryFile() as opened:
        opened.write(b"content")
        opened.flush()
        yield opened


def child_of_last_job() -> parent.Child:
    [child] = parent._idle.values()
    return child


def test_a_job_gets_the_file_from_its_beginning_and_plain_options(file: IO[bytes]) -> None:
    options = {"number": 1, "words": ["一", "two"], "bytes": b"\x00\xff", "none": None}
    found = bounded.run("read", file, **options)
    assert found["content"] == b"content"
    assert {name: found[name] for name in options} == options
    assert found["pid"] != os.getpid()


def test_results_come_one_by_one_and_none_is_fine_too(file: IO[bytes]) -> None:
    assert list(bounded.stream("count", file, to=3)) == [0, 1, 2]
    assert bounded.run("count", file, to=0) is None
    assert bounded.run("nothing", file) is None


def test_a_child_serves_many_files(file: IO[bytes]) -> None:
    assert len({bounded.run("read", file)["pid"] for _ in range(5)}) == 1


def test_a_child_is_replaced_after_so_many_files(
    file: IO[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parent, "JOBS_PER_CHILD", 2)
    assert len({bounded.run("read", file)["pid"] for _ in range(5)}) == 3


@linux
def test_a_child_that_took_much_memory_is_replaced(
    file: IO[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parent, "USED_MUCH_BYTES", 60 << 20)
    bounded.run("grow", file, megabytes=10)
    assert parent._idle
    bounded.run("grow", file, megabytes=80)
    assert not parent._idle
    assert 80 << 20 < bounded.usage().peak_bytes < 200 << 20


def test_a_refusal_has_its_reason_and_leaves_the_child_alive(file: IO[bytes]) -> None:
    before = bounded.run("read", file)["pid"]
    with pytest.raises(bounded.Refused) as refused:
        bounded.run("refuse", file)
    assert (refused.value.code, refused.value.cause) == ("broken", "as told")
    assert bounded.run("read", file)["pid"] == before


def test_a_bug_of_a_job_is_told_with_its_traceback(file: IO[bytes]) -> None:
    with pytest.raises(bounded.JobFailed, match=r"in fail\n.*KeyError: 'a bug'|KeyError: 'a bug'"):
        bounded.run("fail", file)


def test_too_much_memory_is_refused(file: IO[bytes]) -> None:
    with pytest.raises(bounded.Refused) as refused:
        bounded.run("hog", file)
    assert refused.value.code == "too_much_memory"
    assert bounded.usage().peak_bytes < SMALL.memory_bytes
    assert bounded.run("read", file)["content"] == b"content"


def test_too_much_cpu_time_is_refused(file: IO[bytes]) -> None:
    with pytest.raises(bounded.Refused) as refused:
        bounded.run("spin", file)
    assert refused.value.code == "too_slow"


def test_cpu_time_of_earlier_files_does_not_count(file: IO[bytes]) -> None:
    deadline = time.monotonic() + 20
    seen = set()
    total = 0.0
    while total < 2 * SMALL.cpu_seconds + 2 and time.monotonic() < deadline:
        seen.add(bounded.run("burn", file, seconds=0.5))
        total += bounded.usage().cpu_seconds
    assert total >= 2 * SMALL.cpu_seconds + 2
    assert len(seen) == 1


def test_the_clock_ends_what_merely_waits(file: IO[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    quick = Limits(memory_bytes=256 << 20, cpu_seconds=1, wall_seconds=0.5)
    monkeypatch.setitem(JOBS, "sleep", Job("tests.media_storage.jobs:sleep", quick))
    begun = time.monotonic()
    with pytest.raises(bounded.Disturbed) as disturbed:
        bounded.run("sleep", file)
    assert disturbed.value.code == "too_slow"
    assert time.monotonic() - begun < 5
    assert not parent._idle


def test_the_time_of_the_caller_is_not_counted(
    file: IO[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = Limits(memory_bytes=256 << 20, cpu_seconds=1, wall_seconds=4.0)
    monkeypatch.setitem(JOBS, "count", Job("tests.media_storage.jobs:count", quick))
    seen = []
    for number in bounded.stream("count", file, to=3):
        time.sleep(2)
        seen.append(number)
    assert seen == [0, 1, 2]


@pytest.mark.parametrize("how", [signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL])
def test_a_crash_is_refused_with_how_it_died(file: IO[bytes], how: signal.Signals) -> None:
    with pytest.raises(bounded.Refused, match=how.name) as refused:
        bounded.run("die", file, of=int(how))
    assert refused.value.code == "crashed"


@pytest.mark.parametrize(
    ("how", "code"), [(signal.SIGKILL, "too_much_memory"), (signal.SIGTERM, "crashed")]
)
def test_who_was_killed_from_outside_may_be_innocent(
    file: IO[bytes], how: signal.Signals, code: str
) -> None:
    with pytest.raises(bounded.Disturbed) as disturbed:
        bounded.run("die", file, of=int(how))
    assert disturbed.value.code == code


def test_a_file_does_not_suffer_for_the_one_before_it(file: IO[bytes]) -> None:
    first = bounded.run("read", file)["pid"]
    second = bounded.run("die_when_used", file, first=first)
    assert second != first


def test_what_was_told_is_not_told_twice(file: IO[bytes]) -> None:
    bounded.run("read", file)
    results = bounded.stream("half", file)
    assert next(results) == "first"
    with pytest.raises(bounded.Refused):
        next(results)


def test_a_child_that_leaves_or_babbles_is_no_success(file: IO[bytes]) -> None:
    with pytest.raises(bounded.Refused, match="left with 3"):
        bounded.run("leave", file)
    with pytest.raises(bounded.JobFailed, match="41943"):
        bounded.run("babble", file)


def test_a_child_that_died_while_it_idled_is_nobodys_fault(file: IO[bytes]) -> None:
    bounded.run("read", file)
    child = child_of_last_job()
    os.kill(child.process.pid, signal.SIGKILL)
    await_true(lambda: not alive(child.process.pid))
    assert bounded.run("read", file)["content"] == b"content"


def test_an_idle_child_ends_by_itself(file: IO[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parent, "IDLE_SECONDS", 0.2)
    bounded.run("read", file)
    child = child_of_last_job()
    await_true(lambda: not alive(child.process.pid))
    assert bounded.run("read", file)["content"] == b"content"


def test_who_stops_early_ends_the_job(file: IO[bytes]) -> None:
    with closing(bounded.stream("count", file, to=100_000)) as results:
        assert next(results) == 0
    assert not parent._idle
    assert bounded.run("read", file)["content"] == b"content"


def test_a_job_within_a_job_is_a_mistake_and_not_a_dead_lock(file: IO[bytes]) -> None:
    with closing(bounded.stream("count", file, to=3)) as results:
        next(results)
        with pytest.raises(RuntimeError, match="within"):
            bounded.run("read", file)


def test_threads_take_turns(file: IO[bytes]) -> None:
    pids: list[int] = []

    def work() -> None:
        with tempfile.TemporaryFile() as own:
            pids.append(bounded.run("read", own)["pid"])

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(pids) == 4
    assert len(parent._idle) == 1


def test_a_child_outlives_the_thread_that_wanted_it(file: IO[bytes]) -> None:
    pids = []
    thread = threading.Thread(target=lambda: pids.append(bounded.run("read", file)["pid"]))
    thread.start()
    thread.join()
    time.sleep(0.2)
    assert alive(pids[0])
    assert bounded.run("read", file)["pid"] == pids[0]


@linux
def test_a_crash_for_lack_of_memory_is_told_from_another(file: IO[bytes]) -> None:
    code = """
import tempfile
from media_storage import bounded
from media_storage.bounded.jobs import JOBS, Job
from media_storage.bounded.limits import Limits
JOBS["abort"] = Job("tests.media_storage.jobs:abort", Limits(memory_bytes=256 << 20))
with tempfile.TemporaryFile() as file:
    for megabytes in (10, 220):
        try:
            bounded.run("abort", file, megabytes=megabytes)
        except bounded.Refused as refused:
            print(refused.code)
"""
    # From a small process: the memory of a large one hides that of its children.
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["crashed", "too_much_memory"], done.stderr


def test_jobs_of_other_limits_have_a_child_of_their_own(
    file: IO[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    large = Limits(memory_bytes=512 << 20)
    monkeypatch.setitem(JOBS, "grow", Job("tests.media_storage.jobs:grow", large))
    one = bounded.run("read", file)["pid"]
    assert bounded.run("grow", file, megabytes=300) == 300 << 20
    assert bounded.run("read", file)["pid"] == one


@linux
def test_the_child_has_no_secret_no_connection_and_no_django(
    file: IO[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_KEY", "the secret")
    monkeypatch.setenv("DATABASE_URL", "postgres://user:password@db/duxue")
    found = bounded.run("belongings", file)
    assert set(found["environment"]) <= {
        *("PATH", "LD_LIBRARY_PATH", "TMPDIR", "LANG", "LC_CTYPE"),
        *("MALLOC_ARENA_MAX", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"),
        *("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"),
    }
    kinds = [where.partition(":")[0].partition(" ")[0] for where in found["files"].values()]
    assert sorted(kinds.count(kind) for kind in ("socket", "/dev/null")) == [1, 2]
    assert len(kinds) <= 6  # also: its log, the file, the folder that it reads to know this
    assert found["modules"] == []
    assert (found["oom"], found["here"]) == ("1000", "/")


def test_the_child_cannot_fill_the_disk(file: IO[bytes], tmp_path: Path) -> None:
    said = bounded.run("write", file, path=str(tmp_path / "large"), megabytes=80)
    assert "too large" in said
    assert (tmp_path / "large").stat().st_size <= 64 << 20


@linux
def test_a_program_reads_the_file_and_is_as_bounded(file: IO[bytes]) -> None:
    ended = bounded.run("program", file, command=["cat", "{file}"])
    assert ended == {"code": 0, "output": b"content", "errors": ""}
    ended = bounded.run("program", file, command=["cat", "/dev/zero"], most=10)
    assert (ended["code"], ended["output"]) == (-signal.SIGKILL, bytes(10))
    ended = bounded.run("program", file, command=["sh", "-c", "while :; do :; done"], cpu_seconds=1)
    assert ended["code"] in (-signal.SIGXCPU, -signal.SIGKILL)
    code = "import sys; bytearray(300 << 20)"
    ended = bounded.run("program", file, command=[sys.executable, "-c", code])
    assert "MemoryError" in ended["errors"]


@linux
def test_programs_end_with_the_child(file: IO[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    quick = Limits(memory_bytes=256 << 20, wall_seconds=1.0)
    monkeypatch.setitem(JOBS, "program", Job("tests.media_storage.jobs:program", quick))
    seconds = f"600.{os.getpid()}"
    with pytest.raises(bounded.Disturbed):
        bounded.run("program", file, command=["sleep", seconds])
    await_true(lambda: not running("sleep", seconds))


WORKER = """
import sys, tempfile, time
from media_storage import bounded
from media_storage.bounded.jobs import JOBS, Job
for name in ("read", "sleep"):
    JOBS[name] = Job(f"tests.media_storage.jobs:{name}")
with tempfile.TemporaryFile() as file:
    print(bounded.run("read", file)["pid"], flush=True)
    if sys.argv[1] == "busy":
        bounded.run("sleep", file)
    time.sleep(600)
"""


@linux
@pytest.mark.parametrize("state", ["busy", "idle"])
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_the_child_ends_with_its_worker(state: str, how: signal.Signals) -> None:
    command = [sys.executable, "-c", WORKER, state]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout is not None
        child = int(worker.stdout.readline())
        assert Path(f"/proc/{child}").exists()
        time.sleep(0.2)
        worker.send_signal(how)
        worker.wait(10)
    await_true(lambda: not alive(child))


def test_every_job_of_the_product_can_be_found() -> None:
    for name, job in OF_THE_PRODUCT.items():
        module, _, function = job.function.partition(":")
        assert callable(getattr(__import__(module, fromlist=[function]), function)), name


def alive(pid: int) -> bool:
    try:
        return " (zombie)" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def running(*command: str) -> list[str]:
    wanted = "\0".join(command).encode() + b"\0"
    found = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if place.read_bytes() == wanted:
                found.append(place.parent.name)
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def await_true(condition: Any, seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
