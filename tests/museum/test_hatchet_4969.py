"""Hatchet (#4969): an eviction went by a retry count read before; the step was never scheduled again."""

import pytest

from runtime.exceptions import StaleAttempt
from runtime.models import Job, Step
from tests.engine.driving import claim, step_of


def test_a_rescue_that_looked_before_the_next_attempt_began_changes_nothing(worker, other, drive):
    job = Job.objects.submit("echo", 1)
    seen = claim(job, worker, "echo")
    Step.objects.get(pk=seen.pk).rescue()
    claim(job, other, "echo")
    with pytest.raises(StaleAttempt):
        seen.rescue()
    now = step_of(job, "echo")
    assert (now.status, now.attempt, now.failures, now.worker_id) == ("running", 2, 1, other.id)
    now.rescue()
    assert (drive(job).status, step_of(job, "echo").attempt) == ("completed", 3)
