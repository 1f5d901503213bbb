"""A worker dies by kill -9, or stands still, around an asynchronous submit: it is made once, a webhook settles it."""

import pytest

from runtime.models import Job, Webhook
from runtime.ports import CrashPoint
from runtime.resolution import resolve
from runtime.states import EntryState, JobStatus, StepStatus
from tests.processes import LONG
from tests.processes.client import Client
from tests.processes.witness import Flags, Witness

LATER = pytest.mark.skipif(not LONG, reason="the same in another guise; runs with AETHERIS_LONG=1")


@pytest.mark.parametrize(
    ("agent", "point", "state"),
    [
        # Nothing is known of the call yet: it is made.
        ("payout-first", CrashPoint.BEFORE_INTENT, EntryState.ACCEPTED),
        # The answer died with the worker.
        ("payout-second", CrashPoint.AFTER_CALL, EntryState.UNKNOWN),
        pytest.param("payout-first", CrashPoint.AFTER_CALL, EntryState.UNKNOWN, marks=LATER),
        pytest.param("payout-inside", CrashPoint.AFTER_CALL, EntryState.UNKNOWN, marks=LATER),
        # The answer is recorded.
        ("payout-inside", CrashPoint.AFTER_ACCEPT, EntryState.ACCEPTED),
        pytest.param("payout-second", CrashPoint.AFTER_ACCEPT, EntryState.ACCEPTED, marks=LATER),
    ],
)
def test_killed_around_the_answer_to_the_submit(
    client: Client, witness: Witness, flags: Flags, agent: str, point: CrashPoint, state: EntryState
) -> None:
    flags.raise_at(point)
    job = client.submit(agent)
    client.until(lambda: not flags.is_raised(point), f"a worker to die at {point}")
    _until_waiting(client, job, state)
    _end_by_webhook(client, job)


def test_killed_before_the_submit_was_sent_waits_for_a_person_and_is_sent_once(
    client: Client, witness: Witness, flags: Flags
) -> None:
    flags.raise_at(CrashPoint.AFTER_INTENT)
    job = client.submit("payout-second")
    client.until(lambda: not flags.is_raised(CrashPoint.AFTER_INTENT), "a worker to die")
    _until_waiting(client, job, EntryState.UNKNOWN)
    assert witness.requests(job) == 0
    resolve(job.ledger.get(), "absent", by="ada", why="they know nothing of it")
    _until_waiting(client, job, EntryState.ACCEPTED)
    _end_by_webhook(client, job)


@pytest.mark.parametrize("webhook_first", [True, False])
def test_killed_while_the_submit_waits_for_its_answer(
    client: Client, witness: Witness, webhook_first: bool
) -> None:
    order = client.new_order()
    witness.answer_late(order, 60)
    job = client.submit("payout-second", order=order)
    client.until(lambda: witness.effects(job) == 1, "the witness to accept")
    if webhook_first:
        assert witness.end_payout(job) == 200
        client.until(lambda: job.ledger.get().state == EntryState.COMMITTED, "the webhook to be read")
    client.child_of(job.steps.get(key="call")).kill()
    if not webhook_first:
        _until_waiting(client, job, EntryState.UNKNOWN)
    _end_by_webhook(client, job)


def test_frozen_past_its_lease_while_the_submit_waits_for_its_answer(
    client: Client, witness: Witness
) -> None:
    order = client.new_order()
    witness.answer_late(order, 8)
    job = client.submit("payout-second", order=order)
    client.until(lambda: witness.effects(job) == 1, "the witness to accept")
    frozen = client.child_of(job.steps.get(key="call"))
    frozen.pause()
    _until_waiting(client, job, EntryState.UNKNOWN)
    frozen.resume()
    # Its late answer is the truth: the call is accepted, and the step waits for the webhook instead of a person.
    _until_waiting(client, job, EntryState.ACCEPTED)
    _end_by_webhook(client, job)


@pytest.mark.parametrize(
    ("lost_at", "undo_lost_at"),
    [
        (None, CrashPoint.AFTER_CALL),
        (CrashPoint.AFTER_CALL, CrashPoint.AFTER_INTENT),
        pytest.param(CrashPoint.AFTER_ACCEPT, CrashPoint.BEFORE_RECORD, marks=LATER),
        pytest.param(None, CrashPoint.AFTER_INTENT, marks=LATER),
        pytest.param(CrashPoint.AFTER_CALL, CrashPoint.AFTER_CALL, marks=LATER),
    ],
)
def test_a_payout_that_the_webhook_commits_while_its_job_is_cancelled_is_undone_once(
    client: Client, witness: Witness, flags: Flags, lost_at: CrashPoint | None, undo_lost_at: CrashPoint
) -> None:
    if lost_at:
        flags.raise_at(lost_at)
    job = client.submit("paid-out")
    client.until(lambda: witness.effects(job) == 1, "the witness to accept")
    if lost_at:
        client.until(lambda: not flags.is_raised(lost_at), f"a worker to die at {lost_at}")
    job.cancel(by="test", why="to be undone")
    undoing = job.steps.filter(kind="compensation", waiting_for__startswith="unknown:")
    client.until(undoing.exists, "the undoing step to wait until the outside tells")

    flags.raise_at(undo_lost_at)
    assert [witness.end_payout(job) for _ in range(2)] == [200, 200]
    client.until(lambda: not flags.is_raised(undo_lost_at), f"a worker to die at {undo_lost_at}")
    client.until_finished(job)
    assert witness.end_payout(job) == 200

    assert job.status == JobStatus.CANCELLED
    assert job.ledger.get(name="witness.payout").state == EntryState.COMPENSATED
    assert (witness.effects(job), witness.messages(job), witness.requests(job)) == (2, 1, 2)
    assert client.events([job], "step_compensated") == ["step_compensated call None"]


def _until_waiting(client: Client, job: Job, state: EntryState) -> None:
    waiting = job.steps.filter(key="call", status=StepStatus.WAITING, waiting_for__contains=":")
    known = job.ledger.filter(state=state)
    client.until(lambda: waiting.exists() and known.exists(), f"the call to be {state} and its step to wait")


def _end_by_webhook(client: Client, job: Job) -> None:
    """The witness pays and tells, twice; the job completes with what it told, and there was one request in all."""
    assert [client.witness.end_payout(job) for _ in range(2)] == [200, 200]
    client.until_finished(job)
    entry = job.ledger.get()
    assert (job.status, entry.state, entry.source) == (JobStatus.COMPLETED, EntryState.COMMITTED, "webhook")
    assert job.result["status"] == "paid"
    assert (client.witness.effects(job), client.witness.requests(job)) == (1, 1)
    # Read by the web process, and perhaps by the sweeper at the same time: it is one event all the same.
    webhook = Webhook.objects.get(entry=entry)
    assert (webhook.state, webhook.deliveries >= 2) == ("applied", True)
    assert len(client.events([job], "tool_returned")) == 1
