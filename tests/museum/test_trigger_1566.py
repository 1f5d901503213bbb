"""Trigger.dev (#1566, #2561): after a restart runs were queued for ever."""

from runtime import leases
from runtime.models import Job
from runtime.recovery import Sweeper


def test_ready_steps_whose_messages_are_gone_are_told_of_again(worker, drive, clock):
    jobs = [Job.objects.submit("echo", number) for number in range(10)]
    leases.client().flushdb()
    clock.forward(seconds=10)
    worker.beat()
    sweeper = Sweeper(worker)
    assert sweeper.sweep().hinted == 10
    assert sum(leases.queue_depths(["default"]).values()) > 0
    assert sweeper.sweep().hinted == 0  # and not each second
    assert [drive(job).result for job in jobs] == list(range(10))
