"""A worker dies by kill -9 while it undoes what a job did: nothing is sent twice, and all of it is undone."""

import pytest

from runtime.ports import CrashPoint
from runtime.states import JobStatus
from tests.processes.client import Client
from tests.processes.witness import Flags, Witness


@pytest.mark.parametrize(
    "point", [CrashPoint.AFTER_CLAIM, CrashPoint.AFTER_INTENT, CrashPoint.AFTER_CALL, CrashPoint.AFTER_RECORD]
)
def test_killed_while_it_undoes(client: Client, witness: Witness, flags: Flags, point: CrashPoint) -> None:
    job = client.submit("undone")
    client.until(job.waits.open().exists, "the job to wait")
    assert witness.effects(job) == 2

    flags.raise_at(point)
    job.cancel(by="test", why="to be undone")
    client.until(lambda: not flags.is_raised(point), f"a worker to die at {point}")
    client.until_finished(job)

    assert job.status == JobStatus.CANCELLED
    assert witness.effects(job) == witness.requests(job) == 4
    undone = job.events.filter(type="step_compensated").order_by("seq").values_list("step", flat=True)
    assert list(undone) == ["second", "first"]
