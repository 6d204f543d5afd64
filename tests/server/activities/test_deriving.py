"""What follows from a stored submission: which question each of its files proves."""

from __future__ import annotations

from server.activities.models import Submission, Visit
from server.activities.services.deriving import derive, name_items
from tests.cast import Cast
from tests.server.console.conftest import fill_in


def items(submission: Submission) -> dict[str, str]:
    return dict(submission.attachments.values_list("name", "item"))


def test_a_file_is_named_after_the_question_that_it_proves(visit: Visit, cast: Cast):
    submission = fill_in(visit, cast.ada, licence="no", licence_note="证件在柜子里")
    assert items(submission) == {"licence.jpg": "/licence"}


def test_a_file_that_has_not_arrived_has_its_place_already(visit: Visit, cast: Cast):
    submission = fill_in(visit, cast.ada, photo=False, licence_photo="later.jpg")
    assert items(submission) == {"later.jpg": "/licence"}


def test_deriving_again_writes_nothing(visit: Visit, cast: Cast, django_assert_num_queries) -> None:
    submission = fill_in(visit, cast.ada)
    derive(submission)
    with django_assert_num_queries(2):  # the files, the form's name
        name_items(submission)
