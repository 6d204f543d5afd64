"""Work on files from outside, in a process that may cost so much and no more.

Decoders are fed by strangers. So they run in a child process, one file at a time: it knows no
settings, no database and no secret, and dies alone when a file takes too much of anything.

    from media_storage import bounded

    with open_somewhere() as file:                       # any file with a descriptor
        for part in bounded.stream("picture", file, pillow_format="JPEG"):
            ...
        pages = bounded.run("document", file)            # for a job with one result

A **job** is a line in `bounded.jobs.JOBS`: its name, the function behind it, its limits. The function
gets the file, opened for reading at its beginning, and the caller's keyword arguments:

    def draw_watermark(file: BinaryIO, *, lines: list[str], font: str) -> Plain:
        return {"width": 1600, "height": 1200, "data": b"..."}

It returns one plain result, or yields several, each of which the caller has before the next is made.
Plain is what msgpack can say: None, bool, int, float, str, bytes, lists, and dicts by str; a message
holds at most `limits.MAX_MESSAGE` bytes. The module is imported in the child at the job's first use and
must not import Django, models or settings: whatever it needs to know is in its arguments. A path may be
among them (a font, a cascade), for the child can read what the worker's user can read.

What the caller may see:

    Refused          the job refused the file, or it ran out of CPU time (too_slow), out of memory
                     (too_much_memory), or crashed its decoder (crashed): that is the file's fault,
                     and so is final
    Disturbed        the clock ran out or the child was killed from outside: perhaps the machine's
                     fault. Try again a few times, then take its `code` as a refusal
    JobFailed        a bug in the job, with the child's traceback
    Unstartable      no process could be started

A child serves many files (starting one takes as long as a photo). It is replaced after
`limits.JOBS_PER_CHILD` files, after one that used much memory, and after every failure; it ends when it
idles, when the worker ends, and when the worker is killed. A file that crashes a child which served
others before it is tried once more in a fresh one, lest it suffers for its predecessor.

At most one job runs at a time in a process: other threads wait. The time that the caller takes between
two results is not counted.
"""

from media_storage.bounded.limits import Limits
from media_storage.bounded.parent import (
    Disturbed,
    JobFailed,
    Plain,
    Unstartable,
    close,
    run,
    stream,
    usage,
)
from media_storage.bounded.wire import Usage
from media_storage.refusals import Reason, Refused

__all__ = [
    "Disturbed",
    "JobFailed",
    "Limits",
    "Plain",
    "Reason",
    "Refused",
    "Unstartable",
    "Usage",
    "close",
    "run",
    "stream",
    "usage",
]
