"""Prefect (#16459, #18653): runs that were healthy, or had finished, were marked as crashed."""

import pytest

from runtime import recovery
from runtime.exceptions import StaleAttempt
from runtime.models import Job
from tests.engine.driving import claim, step_of


def test_one_sign_of_death_is_not_enough(worker, clock):
    step = claim(Job.objects.submit("echo"), worker, "echo")
    with worker.holding(step):
        worker.beat()
        clock.forward(seconds=20)  # the heart is silent, the lease in Redis lives
        assert recovery.rescue_lost() == 0
        worker.beat()
    assert step_of(step.job, "echo").status == "running"


def test_what_has_finished_stays_finished(worker, drive, clock):
    job = Job.objects.submit("echo", 1)
    held = claim(job, worker, "echo")
    held.complete(1)
    clock.forward(minutes=10)
    with pytest.raises(StaleAttempt):
        held.rescue()
    assert [recovery.rescue_lost(), recovery.end_overdue(), recovery.end_overdue_jobs()] == [0, 0, 0]
    job.refresh_from_db()
    assert job.status == "completed"
