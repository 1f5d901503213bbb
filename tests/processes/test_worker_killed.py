"""A worker dies by kill -9 at each moment of a call. What was promised of the tool holds, and the job goes on."""

import time

import pytest

from runtime import planning
from runtime.graph import Graph
from runtime.models import Job
from runtime.ports import CrashPoint
from runtime.resolution import Verdict, resolve
from runtime.states import EntryState, JobStatus, StepStatus
from tests.processes import LONG
from tests.processes.client import RECOVERY, Client
from tests.processes.witness import Flags, Witness

LATER = pytest.mark.skipif(not LONG, reason="the same in another guise; runs with AETHERIS_LONG=1")


@pytest.mark.parametrize(
    ("agent", "point", "lost", "requests"),
    [
        # Nothing is known of the call yet: whatever the tool declares, it is made.
        ("pay-first", CrashPoint.AFTER_CLAIM, "call", 1),
        ("notify-inside", CrashPoint.AFTER_CLAIM, "call", 1),
        ("notify-first", CrashPoint.BEFORE_INTENT, "call", 1),
        ("pay-second", CrashPoint.AFTER_INTENT, "call", 1),
        ("notify_verified-second", CrashPoint.AFTER_INTENT, "call", 1),
        ("pay_verified-second", CrashPoint.AFTER_INTENT, "call", 1),
        # The answer died with the worker. An idempotent tool is asked again, one that can be verified is not.
        ("pay-second", CrashPoint.AFTER_CALL, "call", 2),
        ("notify_verified-second", CrashPoint.AFTER_CALL, "call", 1),
        pytest.param("pay_verified-second", CrashPoint.AFTER_CALL, "call", 1, marks=LATER),
        ("pay-inside", CrashPoint.AFTER_CALL, "call", 2),
        ("notify_verified-inside", CrashPoint.AFTER_CALL, "call", 1),
        # The answer is recorded: not even the tool that may be called only once is in doubt.
        ("notify-inside", CrashPoint.AFTER_SETTLE, "call", 1),
        ("notify-inside", CrashPoint.BEFORE_RECORD, "call", 1),
        # The step is recorded too, and the next one was claimed with it.
        ("notify-first", CrashPoint.AFTER_RECORD, "end", 1),
    ],
)
def test_what_can_be_known_goes_on_by_itself(
    client: Client, witness: Witness, flags: Flags, agent: str, point: CrashPoint, lost: str, requests: int
) -> None:
    job, killed_at = _die_at(client, flags, agent, point)

    assert client.recovery(job, lost, killed_at) <= RECOVERY
    client.until_finished(job)
    assert job.status == JobStatus.COMPLETED
    assert (witness.effects(job), witness.requests(job)) == (1, requests)
    assert client.events([job], "step_rescued") == [f"step_rescued {lost} 1"]


def test_killed_after_the_record_before_anybody_was_told_of_what_it_released(
    client: Client, witness: Witness, flags: Flags
) -> None:
    job, _ = _die_at(client, flags, "errand", CrashPoint.BEFORE_HINT, seconds=0.1)
    client.until_finished(job)
    assert job.status == JobStatus.COMPLETED
    assert witness.effects(job) == witness.requests(job) == 3


def test_killed_while_a_job_is_parked(client: Client, witness: Witness) -> None:
    graph = Graph()
    told = graph.tool("told", "witness.notify", order="${input.order}")
    told >> graph.wait("heard", signal="go") >> graph.tool("paid", "witness.pay", order="${input.order}")
    job = planning.submit(None, {"order": client.new_order()}, graph=graph.build())
    client.jobs.append(job)
    client.until(job.waits.open().exists, "the job to wait")
    for name in ("worker-1", "worker-2"):
        client.child(name).kill()
    assert job.signal("go", dedup_id="once")
    client.wait_whole()
    assert not job.signal("go", dedup_id="once")
    client.until_finished(job)
    assert job.status == JobStatus.COMPLETED
    assert client.events([job], "step_rescued") == []
    assert witness.effects(job) == witness.requests(job) == 2


@pytest.mark.parametrize(("point", "effects"), [(CrashPoint.AFTER_INTENT, 0), (CrashPoint.AFTER_CALL, 1)])
def test_what_cannot_be_known_waits_for_a_person(
    client: Client, witness: Witness, flags: Flags, point: CrashPoint, effects: int
) -> None:
    job, killed_at = _die_at(client, flags, "notify-second", point)

    assert client.recovery(job, "call", killed_at) <= RECOVERY
    _until_in_doubt(client, job)
    assert witness.effects(job) == witness.requests(job) == effects

    _decide(job, happened=bool(effects))
    client.until_finished(job)
    assert job.status == JobStatus.COMPLETED
    assert witness.effects(job) == witness.requests(job) == 1


@pytest.mark.parametrize(
    ("agent", "requests"),
    [
        ("pay-second", 2),
        ("pay_verified-second", 1),
        pytest.param("notify_verified-second", 1, marks=LATER),
        pytest.param("pay-inside", 2, marks=LATER),
    ],
)
def test_killed_during_the_call_after_it_took_effect(
    client: Client, witness: Witness, agent: str, requests: int
) -> None:
    order = client.new_order()
    witness.answer_late(order, 60)
    job = client.submit(agent, order=order)
    client.until(lambda: witness.effects(job) == 1, "the witness to act")
    killed_at = _kill_holder(client, job)

    assert client.recovery(job, "call", killed_at) <= RECOVERY
    client.until_finished(job)
    assert job.status == JobStatus.COMPLETED
    assert (witness.effects(job), witness.requests(job)) == (1, requests)


def test_killed_during_the_call_before_it_took_effect(client: Client, witness: Witness) -> None:
    order = client.new_order()
    witness.act_late(order, 9)
    job = client.submit("notify-second", order=order)
    client.until(lambda: job.ledger.exists() and witness.requests(job) == 1, "the request to arrive")
    killed_at = _kill_holder(client, job)

    assert client.recovery(job, "call", killed_at) <= RECOVERY
    _until_in_doubt(client, job)
    client.until(lambda: witness.effects(job) == 1, "the witness to act on the request of a dead worker")

    _decide(job, happened=True)
    client.until_finished(job)
    assert job.status == JobStatus.COMPLETED
    assert witness.effects(job) == witness.requests(job) == 1


def _die_at(
    client: Client, flags: Flags, agent: str, point: CrashPoint, **input: object
) -> tuple[Job, float]:
    """A job of this agent, and the time at which a worker died at this point of it."""
    flags.raise_at(point)
    job = client.submit(agent, **input)  # type: ignore[arg-type]
    client.until(lambda: not flags.is_raised(point), f"a worker to die at {point}")
    return job, time.time()


def _kill_holder(client: Client, job: Job) -> float:
    killed_at = time.time()
    client.child_of(job.steps.get(key="call")).kill()
    return killed_at


def _until_in_doubt(client: Client, job: Job) -> None:
    row = job.steps.filter(key="call", status=StepStatus.WAITING)
    client.until(row.exists, "the step to wait in doubt")
    assert [entry.state for entry in job.ledger.all()] == [EntryState.UNKNOWN]
    assert client.events([job], "tool_called") == ["tool_called call 1"]


def _decide(job: Job, *, happened: bool) -> None:
    """What a person says who looked it up in the witness."""
    verdict: Verdict = "happened" if happened else "absent"
    resolve(job.ledger.get(), verdict, by="ada", why="looked it up", result={"id": "by hand"})
