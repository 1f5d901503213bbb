"""DBOS (dbos-transact-py #804) and Procrastinate (#1518): a pod that came back was taken for the old one."""

from runtime import recovery
from runtime.models import Job
from runtime.ports import CrashPoint
from tests.engine.driving import StillWorker, crash_at, run_once, step_of


def test_a_worker_that_comes_back_under_its_name_does_not_own_what_the_old_one_held(drive, clock):
    old, new = StillWorker(name="pod-7"), StillWorker(name="pod-7")
    old.start()
    job = Job.objects.submit("echo", 1)
    with crash_at(CrashPoint.BEFORE_RECORD):
        run_once(job, old, "echo")
    new.start()
    clock.forward(seconds=6)
    new.beat()
    assert recovery.rescue_lost() == 1
    assert (drive(job).result, step_of(job, "echo").attempt) == (1, 2)
