"""vercel/workflow (#3081): row and event were two statements, and a crash between them wedged the run."""

import pytest
from django.db import DatabaseError

from runtime.models import Event, Job
from tests.engine.driving import claim, statuses, step_of, told
from tests.healthy import nothing_is_broken


def test_a_turn_that_breaks_in_the_middle_leaves_neither_row_nor_event(worker, drive):
    job = Job.objects.submit("diamond", 1)
    step = claim(job, worker, "top")
    before = (statuses(job), told(job))
    with pytest.raises(DatabaseError), step.turn(worker=worker.id) as turn:
        turn.complete(step, 1)
        turn._op("nothing of the kind")
    assert (statuses(job), told(job)) == before
    step_of(job, "top").rescue()
    assert drive(job).status == "completed"
    nothing_is_broken()
    assert Event.objects.filter(job=job, type="step_completed", step="top").count() == 1
