"""One page of the gallery: squares by visit and item, or by day, with what stands around them.

It costs a number of statements that does not depend on how much it shows: the choices of the filters,
the rows with their pictures' keys, their flags, what they prove (two), and the counts where there are
more pages than one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any
from uuid import UUID

from django.http import Http404
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import get_language
from django.utils.translation import gettext as _

from media_storage.models import MediaObject
from server.activities.models import Visit
from server.activities.queries import visits_visible_to
from server.console.answers import Questions, questions_of
from server.console.gallery.choices import (
    Choice,
    Choices,
    Filter,
    Narrowed,
    choices_for,
    filters_of,
    narrowed,
)
from server.console.gallery.scope import PAGE, Proof, counted, scope_of
from server.console.gallery.selection import ANY, Selection, gallery_address
from server.console.photos import Photo, moment_of, photo_of, position_of
from server.console.position import Sketch, Spot, check_in_of, place_of, sketch
from server.console.states import AMBER, BLUE, GREY, RED, Shown, visit_shown
from server.findings.models import Finding
from server.findings.queries import findings_visible_to
from server.grid.models import School, User
from server.instruments.compiled import text_in

State = MediaObject.State
Labels = Mapping[UUID, Questions]


@dataclass(frozen=True)
class Number:
    """A count that is a link to what it counts."""

    count: int
    shown: Shown
    link: str


@dataclass
class Group:
    """The squares of one visit, or of one day."""

    title: str
    link: str = ""
    about: str = ""
    shown: Shown | None = None
    photos: list[Photo] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """What the page shows."""

    selection: Selection
    groups: Sequence[Group]
    total: int
    numbers: Sequence[Number]
    pages: int
    filters: Sequence[Filter]
    narrowed: Sequence[Narrowed]
    sketch: Sketch | None
    visit: Visit | None
    school: School | None

    @property
    def first(self) -> int:
        """The number of the first square."""
        return (self.selection.page - 1) * PAGE + 1

    @property
    def last(self) -> int:
        return self.first - 1 + sum(len(group.photos) for group in self.groups)

    @property
    def views(self) -> list[tuple[str, str, bool]]:
        """The ways of grouping: in words, with the address, and whether it is this one."""
        words = {"visit": _("按任务"), "day": _("按日期")}
        view = self.selection.view
        return [(words[key], self.selection.address(view=key), key == view) for key in words]

    @property
    def orders(self) -> list[tuple[str, str, bool]]:
        """The ways of sorting: key, words, and whether it is this one."""
        words = {"new": _("从新到旧"), "old": _("从旧到新")}
        return [(key, words[key], key == self.selection.order) for key in words]

    @property
    def previous(self) -> str:
        page = self.selection.page
        return self.selection.address(page=page - 1) if page > 1 else ""

    @property
    def next(self) -> str:
        page = self.selection.page
        return self.selection.address(page=page + 1) if page < self.pages else ""


def gallery_of(user: User, selection: Selection) -> Gallery:
    """The page that the selection asks for. Raises Http404 for a filter by what one may not see."""
    choices = choices_for(user)
    _refuse_invisible(selection, choices)
    finding = _finding(user, selection)
    scope = scope_of(user, selection, finding)
    media = scope.page()
    whole = selection.page == 1 and len(media) <= PAGE
    counts = counted(media) if whole else scope.counts()
    media = media[:PAGE]
    proofs = scope.proofs(media)
    labels = questions_of(proof.version_id for proof in proofs.values() if proof.version_id)
    squares = [_square(row, proofs.get(row.pk), labels, selection) for row in media]
    visit = _visit(user, selection, proofs.values())
    school = _school(selection, proofs.values())
    choices["item"] = _items(proofs.values(), labels, selection)
    return Gallery(
        selection=selection,
        groups=_by_day(squares) if selection.view == "day" else _by_visit(squares),
        total=counts["total"],
        numbers=_numbers(counts, selection),
        pages=max(1, -(-counts["total"] // PAGE)),
        filters=filters_of(selection, choices),
        narrowed=narrowed(selection, choices, visit=visit, finding=finding),
        sketch=_sketch(school, proofs.values(), media),
        visit=visit,
        school=school,
    )


# ---- what the filters name ---------------------------------------------------------------------


def _refuse_invisible(selection: Selection, choices: Choices) -> None:
    for name in ("activity", "town", "school"):
        value = getattr(selection, name)
        if value and str(value) not in {choice.value for choice in choices[name]}:
            raise Http404


def _finding(user: User, selection: Selection) -> Finding | None:
    if selection.finding is None:
        return None
    rows = findings_visible_to(user).filter(pk=selection.finding).select_related("submission")
    found = rows.defer("submission__raw", "submission__answers").first()
    if found is None:
        raise Http404
    return found


def _visit(user: User, selection: Selection, proofs: Iterable[Proof]) -> Visit | None:
    """Asked for only where no photo leads to it."""
    if selection.visit is None:
        return None
    for proof in proofs:
        if proof.visit and proof.visit.pk == selection.visit:
            return proof.visit
    rows = visits_visible_to(user).select_related("activity", "school")
    visit = rows.filter(pk=selection.visit).first()
    if visit is None:
        raise Http404
    return visit


def _school(selection: Selection, proofs: Iterable[Proof]) -> School | None:
    """The one school that the filters leave."""
    schools = {proof.school for proof in proofs if proof.school}
    narrow = selection.visit or selection.school or selection.finding
    return next(iter(schools)) if narrow and len(schools) == 1 else None


def _items(proofs: Iterable[Proof], labels: Labels, selection: Selection) -> list[Choice]:
    """The questions that the files of this page prove, in their forms' order."""
    found = {}
    for proof in proofs:
        questions = _questions(proof, labels)
        if proof.item in questions:
            value = f"{proof.form_id}{proof.item}"
            rank = f"{proof.form_id} {questions[proof.item][0]:05}"
            found[value] = Choice(value, _label(proof, labels), rank)
    if selection.item and selection.item not in found:
        found[selection.item] = Choice(selection.item, selection.item)
    return sorted(found.values(), key=lambda choice: choice.rank)


# ---- squares -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Square:
    """A photo with what it proves, and its place among those of its visit."""

    photo: Photo
    proof: Proof | None
    rank: tuple[Any, ...]


def _square(
    media: MediaObject, proof: Proof | None, labels: Labels, selection: Selection
) -> _Square:
    school = proof.school if proof else None
    photo = photo_of(
        media,
        caption=_caption(proof, labels) if proof else "",
        school=place_of(school) if school else None,
        about=str(school) if school and selection.view == "day" else "",
    )
    return _Square(photo, proof, _rank(proof, labels) if proof else ())


def _caption(proof: Proof, labels: Labels) -> str:
    label = _label(proof, labels)
    if proof.finding:
        return _("整改：%(what)s") % {"what": label or proof.finding.title}
    return label


def _label(proof: Proof, labels: Labels) -> str:
    questions = _questions(proof, labels)
    language = "en" if (get_language() or "").startswith("en") else "zh"
    return text_in(questions[proof.item][1], language) if proof.item in questions else ""


def _questions(proof: Proof, labels: Labels) -> Questions:
    return labels.get(proof.version_id, {}) if proof.version_id else {}


def _rank(proof: Proof, labels: Labels) -> tuple[Any, ...]:
    """Of the same form, in the form's order; what mends a finding beside what shows it."""
    questions = _questions(proof, labels)
    place = questions[proof.item][0] if proof.item in questions else len(questions)
    return str(proof.version_id), place, bool(proof.finding)


# ---- groups ------------------------------------------------------------------------------------


def _by_visit(squares: Sequence[_Square]) -> list[Group]:
    """Visits in the order of their first photo; in each of them by item, then by time."""
    visits: dict[object, list[_Square]] = {}
    for square in squares:
        proof = square.proof
        key = proof and (proof.visit or proof.school or "alone")
        visits.setdefault(key, []).append(square)
    groups = []
    for inside in visits.values():
        group = _group_of(inside[0].proof)
        group.photos = [each.photo for each in sorted(inside, key=lambda each: each.rank)]
        groups.append(group)
    return groups


def _group_of(proof: Proof | None) -> Group:
    if proof is None:
        return Group(_("尚未归入填报"), about=_("已登记或上传，还没有填报用到"))
    if proof.visit:
        link = gallery_address(visit=proof.visit.pk)
        return Group(str(proof.school), link, str(proof.visit.activity), visit_shown(proof.visit))
    if proof.school:
        link = gallery_address(school=proof.school.pk)
        return Group(str(proof.school), link, _("问题整改"))
    return Group(_("不属于任何任务的填报"))


def _by_day(squares: Sequence[_Square]) -> list[Group]:
    days: dict[date, Group] = {}
    for square in squares:
        media = square.photo.media
        day = timezone.localtime(moment_of(media) or media.created_at).date()
        group = days.setdefault(day, Group(f"{day.isoformat()} {date_format(day, 'l')}"))
        group.photos.append(square.photo)
    return list(days.values())


# ---- around them -------------------------------------------------------------------------------


def _sketch(
    school: School | None, proofs: Iterable[Proof], media: Sequence[MediaObject]
) -> Sketch | None:
    if school is None:
        return None
    visits = dict.fromkeys(proof.visit for proof in proofs if proof.visit)
    check_ins = [spot for visit in visits if visit for spot in check_in_of(visit)]
    return sketch(place_of(school), check_ins, spots_of(media))


def spots_of(media: Iterable[MediaObject]) -> list[Spot]:
    """Where these files were made, for a sketch."""
    placed = ((row, position_of(row)) for row in media)
    return [Spot(*position, str(row.pk)) for row, position in placed if position]


def _numbers(counts: Mapping[str, int], selection: Selection) -> list[Number]:
    """What is worth a look, each a link."""
    kinds: tuple[tuple[str, Shown, dict[str, str]], ...] = (
        ("flagged", Shown(AMBER, _("件有疑点")), {"flag": ANY}),
        ("rejected", Shown(RED, _("件被拒绝")), {"state": State.REJECTED.value}),
        ("declared", Shown(GREY, _("件待上传")), {"state": State.DECLARED.value}),
        ("working", Shown(BLUE, _("件处理中")), {"state": State.PROCESSING.value}),
    )
    return [
        Number(counts[name], words, selection.address(**changes))
        for name, words, changes in kinds
        if counts[name]
    ]
