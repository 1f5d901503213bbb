"""Procrastinate (#1408, #1297): stalled jobs were retried without end, or their retry stalled itself."""

from runtime import recovery
from runtime.ports import CrashPoint
from tests.engine.driving import crash_at, doing, run_once, statuses, submit, told, why


def test_a_step_that_takes_every_worker_with_it_is_rescued_so_often_and_then_fails(worker, other, clock):
    job = submit(doing(lambda context: None, retry={"max_attempts": 3}))
    for attempt in range(1, 4):
        clock.forward(minutes=5)
        worker.beat()
        with crash_at(CrashPoint.BEFORE_RECORD):
            run_once(job, worker)
        clock.forward(seconds=20)
        other.beat()
        assert recovery.rescue_lost() == 1, attempt
    job.refresh_from_db()
    assert (job.status, why(job)["type"], statuses(job)) == ("failed", "WorkerLost", {"it": "failed"})
    assert (told(job).count("step_claimed"), recovery.rescue_lost()) == (3, 0)
