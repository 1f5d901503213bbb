"""Trigger.dev (#1272): runs that only waited counted as running, and kept others from beginning."""

from runtime import leases
from runtime.models import Job
from tests.engine.driving import statuses


def test_a_thousand_waits_would_hold_nothing(worker, drive):
    waiting = [drive(Job.objects.submit("wait")) for _ in range(20)]
    assert all(statuses(job) == {"go": "waiting"} for job in waiting)
    assert (list(worker.held_ids()), leases.count()) == ([], 0)
    assert all(job.steps.get().deadline_at is None for job in waiting)
    assert drive(Job.objects.submit("echo", 1)).result == 1
