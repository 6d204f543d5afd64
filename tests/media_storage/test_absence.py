"""Who deletes on purpose explains it; what nobody explains is a loss."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest

from media_storage import absence


@pytest.fixture(autouse=True)
def nobody(monkeypatch) -> None:
    monkeypatch.setattr(absence, "_explainers", [])


def test_without_anybody_who_deletes_nothing_is_explained():
    assert absence.explain_absence([uuid4()]) == {}


def test_each_explains_what_it_deleted_and_the_rest_stays_unexplained():
    first, second, third = uuid4(), uuid4(), uuid4()

    def explainer(known: dict[UUID, str]) -> absence.Explainer:
        return lambda ids: {id: known[id] for id in ids if id in known}

    one, other = explainer({first: "certificate 1"}), explainer({second: "certificate 2"})
    absence.register_explainer(one)
    absence.register_explainer(one)
    absence.register_explainer(other)
    assert len(absence._explainers) == 2
    found = absence.explain_absence([first, second, third])
    assert found == {first: "certificate 1", second: "certificate 2"}
