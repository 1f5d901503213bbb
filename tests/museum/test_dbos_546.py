"""DBOS (dbos-transact-py #546) and River (#1318): one bad row in a batch, and the rest of the batch stood still."""

from runtime import recovery
from runtime.models import Job
from runtime.ports import CrashPoint
from tests.engine.driving import crash_at, run_once, statuses


def test_a_row_that_cannot_be_rescued_does_not_keep_its_neighbours(worker, drive, clock):
    jobs = [Job.objects.submit("echo", number) for number in range(5)]
    for job in jobs:
        with crash_at(CrashPoint.AFTER_CLAIM):
            run_once(job, worker, "echo")
    bad = jobs[2]
    bad.refresh_from_db()
    head = bytes(bad.head)
    Job.objects.filter(pk=bad.pk).update(
        head=bytes(32)
    )  # its next event would fork the chain: PostgreSQL refuses
    clock.forward(seconds=20)
    assert recovery.rescue_lost() == 4
    assert [statuses(job)["echo"] for job in jobs] == ["ready", "ready", "running", "ready", "ready"]
    Job.objects.filter(pk=bad.pk).update(head=head)
    assert recovery.rescue_lost() == 1
    worker.beat()
    assert [drive(job).status for job in jobs] == ["completed"] * 5
