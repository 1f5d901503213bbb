"""Hatchet (#2432, #1796): work was given to workers that were alive and deaf, and stayed there."""

from runtime import recovery
from runtime.models import Job
from runtime.ports import CrashPoint
from tests.engine.driving import crash_at, run_once, step_of


def test_a_worker_that_lives_and_does_not_know_of_its_step_loses_it(worker, drive, clock):
    job = Job.objects.submit("echo", 1)
    with crash_at(CrashPoint.AFTER_CLAIM):
        run_once(job, worker, "echo")
    for _ in range(6):
        clock.forward(seconds=2)
        worker.beat()  # it lives all the time, and lists nothing
    assert recovery.rescue_lost() == 1
    assert (drive(job).result, step_of(job, "echo").attempt) == (1, 2)
