"""The console in Chromium, at the desk and on the phone, with the demo county.

Every page is opened and photographed (var/screenshots); none may scroll sideways, complain on the
console, or ask an outside host for anything.
"""

from __future__ import annotations

import pytest
from django.core.management import call_command
from django.db.models import Count
from django.urls import reverse

from server.activities.models import Activity, Visit
from server.core import work
from server.findings.models import Finding
from tests.browser.watching import SIZES, Watched

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def addresses() -> dict[str, str]:
    """The demo county with its pictures, and the pages to look at."""
    call_command("load_demo", verbosity=0)
    work.drain_all()
    draft = Activity.objects.get(state="draft")
    visit = Visit.objects.annotate(n=Count("submissions__attachments")).order_by("-n")[0]
    finding = Finding.objects.filter(state="answered")[0]
    return {
        "landing": "/",
        "overview": "/admin/",
        "preview": reverse("admin:activities_activity_preview", args=[draft.pk]),
        "plan": reverse("admin:activities_activity_add"),
        "visit": reverse("admin:activities_visit_change", args=[visit.pk]),
        "findings": reverse("admin:findings_finding_changelist") + "?standing=overdue",
        "finding": reverse("admin:findings_finding_change", args=[finding.pk]),
        "schools": reverse("admin:grid_school_changelist"),
        "import": reverse("admin:grid_school_import"),
        "gallery": reverse("admin:media_storage_mediaobject_gallery"),
        "gallery-of-visit": reverse("admin:media_storage_mediaobject_gallery")
        + f"?visit={visit.pk}",
        "compose": reverse("admin:messaging_notice_add"),
        "storage": reverse("admin:care_deletion_storage"),
        "retention": reverse("admin:care_deletion_retention", args=[visit.activity_id]),
        "export": reverse("admin:care_export_request", args=[visit.activity_id]),
        "log": reverse("admin:core_auditentry_changelist"),
    }


@pytest.mark.parametrize("size", SIZES)
def test_the_office_works_through_its_pages(size, chrome, live_server, addresses):
    watched = Watched(chrome, live_server.url, size)
    watched.log_in()
    for name, path in addresses.items():
        page = watched.open(path, name)
        if size == "phone":
            heights = page.eval_on_selector_all(
                ".dx-page .dx-button", "all => all.map(each => each.offsetHeight).filter(Boolean)"
            )
            assert all(height >= 44 for height in heights), name
    find_a_school(watched, addresses["plan"])
    follow_a_number(watched)


def find_a_school(watched: Watched, path: str) -> None:
    """The list of boxes narrows while one types."""
    page = watched.open(path, "plan")
    picks = page.locator(".dx-pick", has=page.locator("[name=schools]"))
    before = picks.locator("label:visible").count()
    picks.locator(".dx-pick-search").fill("中心小学")
    assert 0 < picks.locator("label:visible").count() < before


def follow_a_number(watched: Watched) -> None:
    """The first number of the overview leads to its list."""
    page = watched.open("/admin/", "overview")
    number = page.locator(".dx-numbers a").first
    count = number.locator("b").inner_text()
    number.click()
    page.wait_for_load_state("networkidle")
    assert page.locator("#result_list tbody").count() == int(count)
    watched.look("list")
