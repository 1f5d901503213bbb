"""Prefect (#4663, #7712): a process that ran out of memory left its run as a zombie that ran for ever."""

from runtime import recovery
from runtime.models import Job
from runtime.ports import CrashPoint
from tests.engine.driving import crash_at, run_once, step_of


def test_after_a_kill_the_step_is_back_within_eight_seconds(worker, other, drive, clock):
    job = Job.objects.submit("echo", 1)
    with crash_at(CrashPoint.BEFORE_RECORD):
        run_once(job, worker, "echo")
    seconds = 0
    while not recovery.rescue_lost():
        seconds += 1
        clock.forward(seconds=1)
        other.beat()
    assert seconds <= 8
    assert (run_once(job, other, "echo").attempt, step_of(job, "echo").status) == (2, "completed")
