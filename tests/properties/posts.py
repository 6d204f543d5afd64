"""Stories of posts: what phones may send for one chain of edits, in which order, and what must remain.

A story has up to four documents. Each may name an earlier one that it replaces, and has up to three
contents that claim its id: the one that arrives first is the submission, the others are conflicts.
Its steps are posts (one content, some of its files, from one of two phones), runs of the worker, and
second runs on what is derived already. `Remains` is the model: what the product must hold after the
steps, computed from nothing but which content and which file came first.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from uuid import UUID

from hypothesis import strategies as st

from server.activities.models import Submission
from server.activities.services.documents import (
    Document,
    document_from_json,
    document_from_xml,
)
from tests.media_storage.pictures import jpeg

ITEMS = ("gate", "fire", "yard")
PHOTOS = ("front", "side")
PHONES = 2
DIARY_SURVEY = [
    *(
        {
            "type": "select_one yes_no",
            "name": item,
            "label": item,
            "required": "yes",
            "finding": "no",
            "finding_severity": "minor",
            "finding_days": 5,
            "finding_title": f"{item} 不符合要求",
        }
        for item in ITEMS
    ),
    {"type": "text", "name": "remark", "label": "说明"},
    *({"type": "image", "name": photo, "label": photo} for photo in PHOTOS),
]

PICTURES = {
    (photo, variant): jpeg(8 + variant, 16 + number)
    for number, photo in enumerate(PHOTOS)
    for variant in range(2)
}


@dataclass(frozen=True)
class Content:
    """One filled-in diary: what is wrong at the school, and which photos it names."""

    wrong: frozenset[str]
    remark: str
    photos: frozenset[str]
    replaces: int | None
    format: str = Submission.Format.XML

    @property
    def file_names(self) -> list[str]:
        return [f"{photo}.jpg" for photo in sorted(self.photos)]

    def answers(self) -> dict[str, str]:
        items = {item: "no" if item in self.wrong else "yes" for item in ITEMS}
        files = {photo: f"{photo}.jpg" for photo in sorted(self.photos)}
        return {**items, "remark": self.remark, **files}


@dataclass(frozen=True)
class Post:
    """`files`: photo and variant of its bytes. `dressing` changes what a retry may change."""

    document: int
    content: int
    files: tuple[tuple[str, int], ...]
    phone: int
    dressing: int


@dataclass(frozen=True)
class Work:
    """The worker derives what is due."""


@dataclass(frozen=True)
class WorkAgain:
    """A worker died after its commit: this document is derived a second time."""

    document: int


Step = Post | Work | WorkAgain


@dataclass(frozen=True)
class Story:
    """`ids` of the documents, the contents that claim each, and the steps."""

    ids: tuple[UUID, ...]
    contents: tuple[tuple[Content, ...], ...]
    steps: tuple[Step, ...]

    def raw(self, post: Post, version: str) -> bytes:
        """The document as the phone sends it, the same bytes for each post of an XML content."""
        content = self.contents[post.document][post.content]
        if content.format == Submission.Format.JSON:
            return json.dumps({"answers": content.answers(), "n": post.dressing}).encode()
        return self._xml(post.document, content, version)

    def document(self, post: Post, version: str) -> Document:
        content = self.contents[post.document][post.content]
        raw = self.raw(post, version)
        if content.format == Submission.Format.XML:
            return document_from_xml(raw)
        return document_from_json(
            submission_id=self.ids[post.document],
            form_id="diary",
            version=version,
            answers=content.answers(),
            raw=raw,
            visit_id=None,
            started_at=None,
            ended_at=None,
            device_time=None,
        )

    def _xml(self, number: int, content: Content, version: str) -> bytes:
        body = "".join(f"<{name}>{value}</{name}>" for name, value in content.answers().items())
        old = content.replaces
        deprecated = "" if old is None else f"<deprecatedID>uuid:{self.ids[old]}</deprecatedID>"
        meta = f"<meta><instanceID>uuid:{self.ids[number]}</instanceID>{deprecated}</meta>"
        return f'<data id="diary" version="{version}">{body}{meta}</data>'.encode()


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


# ---- what is generated --------------------------------------------------------------------------


def contents(number: int, formats: list[str]) -> st.SearchStrategy[tuple[Content, ...]]:
    """One to three contents that claim one id; an edit's rivals may name another predecessor."""
    before = st.integers(0, number - 1) | st.none() if number else st.none()
    some = st.builds(
        Content,
        wrong=st.frozensets(st.sampled_from(ITEMS)),
        remark=st.sampled_from(["甲", "乙", "丙"]),
        photos=st.frozensets(st.sampled_from(PHOTOS)),
        replaces=before,
        format=st.sampled_from(formats),
    ).map(_without_edits_in_json)
    return st.lists(some, min_size=1, max_size=3, unique=True).map(tuple)


def _without_edits_in_json(content: Content) -> Content:
    """The JSON API has no way to name a predecessor."""
    if content.format == Submission.Format.XML:
        return content
    return Content(content.wrong, content.remark, content.photos, None, content.format)


@st.composite
def stories(draw: st.DrawFn, *, formats: list[str], max_steps: int = 14) -> Story:
    count = draw(st.integers(1, 4))
    claims = tuple(draw(contents(number, formats)) for number in range(count))
    posts = st.tuples(st.integers(0, count - 1), st.integers(0, 2)).flatmap(
        lambda chosen: _posts(claims, *chosen)
    )
    others = st.just(Work()) | st.builds(WorkAgain, st.integers(0, count - 1))
    steps = draw(st.lists(posts | posts | posts | others, min_size=1, max_size=max_steps))
    ids = draw(st.lists(st.uuids(version=4), min_size=count, max_size=count, unique=True))
    return Story(tuple(ids), claims, tuple(steps))


def _posts(claims: tuple[tuple[Content, ...], ...], number: int, which: int) -> st.SearchStrategy:
    which %= len(claims[number])
    photos = sorted(claims[number][which].photos)
    return st.builds(
        Post,
        document=st.just(number),
        content=st.just(which),
        files=st.lists(st.sampled_from(photos), unique=True).flatmap(_with_variants)
        if photos
        else st.just(()),
        phone=st.integers(0, PHONES - 1),
        dressing=st.integers(0, 1),
    )


def _with_variants(photos: list[str]) -> st.SearchStrategy:
    return st.tuples(*(st.tuples(st.just(photo), st.integers(0, 1)) for photo in photos))


# ---- what must remain ---------------------------------------------------------------------------


@dataclass
class Remains:
    """The model. Digests stand for bytes; a conflict is (document, file name or "", digest)."""

    story: Story
    version: str
    first: dict[int, Content] = field(default_factory=dict)
    raw: dict[int, bytes] = field(default_factory=dict)
    digest: dict[int, str] = field(default_factory=dict)
    files: dict[tuple[int, str], str] = field(default_factory=dict)
    conflicts: set[tuple[int, str, str]] = field(default_factory=set)

    def take(self, post: Post) -> str:
        """Count the post in; "new", "same" or "conflict"."""
        number = post.document
        content = self.story.contents[number][post.content]
        document = self.story.document(post, self.version)
        files = {f"{photo}.jpg": sha(PICTURES[photo, n]) for photo, n in post.files}
        is_new = number not in self.first
        if is_new:
            self.first[number] = content
            self.raw[number], self.digest[number] = document.raw, document.sha256
        if self.digest[number] != document.sha256:
            self.conflicts.add((number, "", document.sha256))
            self.conflicts |= {(number, name, digest) for name, digest in files.items()}
            return "conflict"
        rivals = {
            (number, name, digest)
            for name, digest in files.items()
            if self.files.setdefault((number, name), digest) != digest
        }
        self.conflicts |= rivals
        return "conflict" if rivals else "new" if is_new else "same"

    def missing(self, number: int) -> set[str]:
        return {n for n in self.first[number].file_names if (number, n) not in self.files}

    def root(self, number: int) -> UUID:
        """The first of the chain as far as it is known; an absent predecessor by its name."""
        while (before := self.first[number].replaces) is not None:
            if before not in self.first:
                return self.story.ids[before]
            number = before
        return self.story.ids[number]

    def ends(self) -> list[int]:
        """Documents that nothing present replaces."""
        replaced = {content.replaces for content in self.first.values()}
        return [number for number in self.first if number not in replaced]

    def living(self) -> set[tuple[UUID, str]]:
        """(root, place in the form) of what is wrong now."""
        return {(self.root(n), f"/{item}") for n in self.ends() for item in self.first[n].wrong}
