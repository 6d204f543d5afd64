"""The wording of notices: what an office may write, which version counts, and that old notices stay."""

from __future__ import annotations

from dataclasses import replace

import pytest
from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import translation

from server.core.audit import AuditEntry
from server.core.errors import Invalid, NotAllowed, NotFound
from server.grid.models import Membership
from server.messaging.events import event_kind, event_kinds
from server.messaging.models import EventWording, Notice
from server.messaging.models.wording import WordingChanged
from server.messaging.queries import inbox_of
from server.messaging.services import notify
from server.messaging.wording import (
    NAMES,
    SAMPLES,
    Draft,
    preview,
    record_catalogue,
    reset_wording,
    save_wording,
    shipped,
    version_for,
    versions_visible_to,
)
from tests.cast import add_person

EVENT = "finding.closed"
WORDED = [kind for kind in event_kinds() if not kind.by_hand]


def draft(event: str = EVENT, **changes) -> Draft:
    return replace(shipped(event), **changes)


def word(cast, by=None, area=None, event: str = EVENT, **changes) -> EventWording:
    return save_wording(
        by=by or cast.office,
        area_id=(area or cast.county).pk,
        event=event,
        draft=draft(event, **changes),
    )


def close(cast, school=None, event: str = EVENT) -> Notice:
    return notify(event, recipients=[cast.ada], school=school or cast.school, finding="留样不足")


# ---- which wording counts -----------------------------------------------------------------------


def test_without_a_wording_of_the_office_the_catalogue_speaks(cast):
    notice = close(cast)
    assert notice.title == "问题已销号：留样不足"
    assert notice.wording.area is None


def test_the_offices_words_reach_its_schools_in_the_readers_language(cast):
    word(cast, title_zh="{school}：{finding}已解决", title_en="{finding} settled at {school}")
    notice = close(cast)
    assert notice.title == "东河镇中心小学：留样不足已解决"
    with translation.override("en"):
        assert notice.title == "留样不足 settled at 东河镇中心小学"


def test_the_nearest_areas_wording_counts(cast):
    word(cast, title_zh="县里说")
    word(cast, area=cast.town, title_zh="镇里说")
    assert close(cast).title == "镇里说"
    assert close(cast, cast.far_school).title == "县里说"


def test_a_notice_without_a_school_takes_the_wording_of_its_area(cast):
    word(cast, event="export.failed", title_zh="导出失败了")
    told = {"recipients": [cast.office], "activity": "食品安全"}
    assert notify("export.failed", area=cast.county, **told).title == "导出失败了"
    assert notify("export.failed", **told).title == "导出未完成：食品安全"


def test_a_sent_notice_stays_as_it_was_however_often_the_event_is_worded_anew(cast):
    of_the_catalogue = close(cast)
    word(cast, title_zh="第一版", urgent=True)
    of_the_first = close(cast)
    word(cast, title_zh="第二版", urgent=False)
    reset_wording(by=cast.office, area_id=cast.county.pk, event=EVENT)
    read_again = Notice.objects.order_by("id")
    assert [row.title for row in read_again] == ["问题已销号：留样不足", "第一版"]
    assert [row.kind.urgent for row in read_again] == [False, True]
    assert of_the_catalogue.wording_id != of_the_first.wording_id


def test_a_release_that_words_the_catalogue_otherwise_leaves_old_notices_as_they_were(
    cast, monkeypatch
):
    old = close(cast)
    monkeypatch.setattr("server.messaging.wording.shipped", lambda event: draft(title_zh="新版"))
    new = close(cast)
    assert (Notice.objects.get(pk=old.pk).title, new.title) == ("问题已销号：留样不足", "新版")
    assert close(cast).wording_id == new.wording_id


def test_a_notice_from_before_there_were_versions_speaks_with_the_catalogue(cast):
    notice = close(cast)
    Notice.objects.filter(pk=notice.pk).update(wording=None)
    assert Notice.objects.get(pk=notice.pk).title == "问题已销号：留样不足"


def test_values_are_put_in_as_they_are_and_never_looked_into_again(cast):
    word(cast, body_zh="{finding} {school}")
    notice = notify(
        EVENT, recipients=[], school=cast.school, finding="{school}{finding.__class__}%(school)s"
    )
    assert notice.body == "{school}{finding.__class__}%(school)s 东河镇中心小学"


def test_reading_a_long_inbox_asks_for_each_version_once(cast, django_assert_num_queries):
    for _notice in range(30):
        close(cast)
    with django_assert_num_queries(1):
        assert {row.notice.title for row in inbox_of(cast.ada)} == {"问题已销号：留样不足"}


# ---- what an office may switch --------------------------------------------------------------------


def test_an_event_that_is_switched_off_reaches_nobody_and_leaves_a_trace(cast):
    word(cast, enabled=False)
    notice = close(cast)
    assert not notice.deliveries.exists()
    assert not inbox_of(cast.ada).exists()


@pytest.mark.parametrize("event", ["visit.announced", "finding.opened"])
def test_what_the_law_asks_for_cannot_be_switched_off(cast, event):
    with pytest.raises(Invalid) as refused:
        word(cast, event=event, enabled=False)
    assert [problem.pointer for problem in refused.value.problems] == ["/enabled"]


def test_the_office_decides_on_urgency_and_confirmation(cast):
    word(cast, urgent=True, requires_ack=True)
    notice = close(cast)
    assert notice.requires_ack
    assert notice.kind.urgent


# ---- what is refused --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "code", "named"),
    [
        ("你好 {shcool}", "unknown_variable", "{shcool}"),
        ("{finding.title}", "not_a_variable", "{finding.title}"),
        ("{finding[0]}", "not_a_variable", "{finding[0]}"),
        ("{finding.__class__.__mro__}", "not_a_variable", "{finding.__class__.__mro__}"),
        ("{finding!r}", "not_a_variable", "{finding!r}"),
        ("{finding:>999999999}", "not_a_variable", "{finding:>999999999}"),
        ("{}", "not_a_variable", "{}"),
        ("{0}", "not_a_variable", "{0}"),
        ("{ finding }", "not_a_variable", "{ finding }"),
        ("你好 {finding", "unpaired_brace", "{finding"),
        ("finding} 你好", "unpaired_brace", "finding}"),
        ("{{finding}}", "unpaired_brace", "{{finding}}"),
        ("   ", "blank", ""),
        ("a\x00b", "control_character", ""),
        ("字" * 2001, "too_long", "2001"),
    ],
)
def test_a_faulty_body_is_refused_and_the_fault_is_named(cast, text, code, named):
    with pytest.raises(Invalid) as refused:
        word(cast, body_en=text)
    problem = refused.value.problems[0]
    assert (problem.pointer, problem.code) == ("/body_en", code)
    assert named in str(problem.detail)
    assert not EventWording.objects.filter(area=cast.county).exists()


def test_a_refusal_says_which_variables_there_are(cast):
    with pytest.raises(Invalid) as refused:
        word(cast, body_zh="{reason}")
    assert "{finding}、{school}" in str(refused.value.problems[0].detail)


def test_every_fault_of_every_text_is_named_at_once(cast):
    with pytest.raises(Invalid) as refused:
        word(cast, title_zh="字" * 121, body_zh="{a}{b}", title_en="a\nb", body_en="")
    found = [(problem.pointer, problem.code) for problem in refused.value.problems]
    assert found == [
        ("/title_zh", "too_long"),
        ("/body_zh", "unknown_variable"),
        ("/body_zh", "unknown_variable"),
        ("/title_en", "line_break"),
        ("/body_en", "blank"),
    ]


def test_a_megabyte_is_refused_in_one_sentence(cast):
    with pytest.raises(Invalid) as refused:
        word(cast, body_zh="{x}" * 350_000, title_zh="{" * 1_000_000)
    assert [problem.code for problem in refused.value.problems] == ["too_long", "too_long"]
    assert all(len(str(problem.detail)) < 100 for problem in refused.value.problems)


def test_the_limits_themselves_are_allowed(cast):
    version = word(cast, title_zh="题" * 120, body_zh="文" * 1999 + "\n")
    version.refresh_from_db()
    assert (len(version.title_zh), len(version.body_zh)) == (120, 2000)


# ---- who may --------------------------------------------------------------------------------------


@pytest.mark.parametrize("who", ["ada", "principal", "expert", "town_group"])
def test_nobody_but_an_office_words_events(cast, who):
    with pytest.raises(NotAllowed):
        word(cast, by=getattr(cast, who), area=cast.town)


def test_an_office_words_nothing_above_itself(cast):
    far = add_person("far", "远主任", Membership.Role.OFFICE, area=cast.far_town, is_staff=True)
    for area in (cast.county, cast.town):
        with pytest.raises(NotFound):
            word(cast, by=far, area=area)
    with pytest.raises(NotFound):
        reset_wording(by=far, area_id=cast.county.pk, event=EVENT)


def test_carla_sees_no_version(cast):
    word(cast)
    assert not versions_visible_to(cast.carla).exclude(area=None).exists()
    assert versions_visible_to(cast.town_group).exclude(area=None).count() == 1


def test_what_is_written_by_hand_has_no_wording(cast):
    with pytest.raises(NotAllowed):
        save_wording(by=cast.office, area_id=cast.county.pk, event="announcement", draft=draft())
    with pytest.raises(NotFound):
        save_wording(by=cast.office, area_id=cast.county.pk, event="no.such", draft=draft())


# ---- versions -------------------------------------------------------------------------------------


def test_each_save_is_a_version_of_its_own_and_the_audit_log_knows_it(cast):
    first, second = word(cast, title_zh="一"), word(cast, title_zh="二")
    assert (first.number, second.number) == (1, 2)
    entries = AuditEntry.objects.filter(action="wording.saved").order_by("id")
    assert [entry.object_id for entry in entries] == [first.pk, second.pk]
    assert entries[1].by == cast.office
    assert (entries[1].details["before"], entries[1].details["title_zh"]) == (1, "二")


def test_saving_the_same_again_makes_no_version(cast):
    assert word(cast, title_zh="一") == word(cast, title_zh="一")
    assert AuditEntry.objects.filter(action="wording.saved").count() == 1


def test_a_reset_is_a_version_too_and_gives_the_word_back(cast):
    word(cast, title_zh="县里说")
    word(cast, area=cast.town, title_zh="镇里说")
    for _twice in range(2):
        reset_wording(by=cast.office, area_id=cast.town.pk, event=EVENT)
    assert close(cast).title == "县里说"
    assert EventWording.objects.filter(area=cast.town, resets=True).count() == 1
    assert AuditEntry.objects.filter(action="wording.reset").count() == 1
    assert word(cast, area=cast.town, title_zh="镇里又说").number == 3


def test_a_version_cannot_be_changed(cast):
    version = word(cast)
    version.title_zh = "改"
    with pytest.raises(WordingChanged):
        version.save()


def test_the_database_keeps_one_version_in_force(cast):
    version = word(cast)
    with pytest.raises(IntegrityError), transaction.atomic():
        EventWording.objects.create(
            event=EVENT, area=cast.county, number=9, in_force=True, digest="x", **vars(draft())
        )
    assert version_for(event_kind(EVENT), cast.county.path) == version


def test_recording_the_catalogue_twice_keeps_one_version_of_each_event(db):
    record_catalogue()
    record_catalogue()
    assert EventWording.objects.filter(area=None).count() == len(WORDED)


# ---- previews -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", WORDED, ids=lambda kind: kind.key)
def test_every_event_is_previewed_without_a_brace_left(kind):
    assert kind.params <= SAMPLES.keys() <= NAMES.keys()
    texts = preview(kind, shipped(kind.key))
    assert not any("{" in text or "%" in text for text in texts.values())
    assert len(texts["title_zh"]) <= 120


@pytest.mark.parametrize("kind", event_kinds(), ids=lambda kind: kind.key)
@pytest.mark.parametrize("language", [code for code, _name in settings.LANGUAGES])
def test_the_catalogue_says_who_is_told_and_when(kind, language):
    with translation.override(language):
        assert str(kind.who)
        assert str(kind.when)
