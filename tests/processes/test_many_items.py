"""A map over a thousand items whose workers are killed when 847 of them are done."""

import signal

from runtime.models import Job, LedgerEntry
from runtime.states import JobStatus
from tests.processes.client import Client

ITEMS = 1000
DONE = 847


def test_of_1_000_items_847_are_done_when_both_workers_are_killed_and_no_call_is_made_twice(
    client: Client,
) -> None:
    orders = [f"{client.new_order()}-{number}" for number in range(ITEMS)]
    job = client.submit("each", orders=orders)
    client.until(lambda: len(paid(job)) >= DONE, f"{DONE} items to be paid", patience=200)
    for name in ("worker-1", "worker-2"):
        client.child(name).restart(signal.SIGKILL)
    done = paid(job)
    client.until_finished(job, patience=200)

    assert (job.status, len(job.result)) == (JobStatus.COMPLETED, ITEMS)
    keys = {str(key) for key in LedgerEntry.objects.filter(job=job).values_list("idempotency_key", flat=True)}
    effects = client.witness.effects_by_key()
    assert (len(keys), {effects.get(key) for key in keys}) == (ITEMS, {1}), "each was paid once"
    claims = job.events.filter(type="step_claimed", step__in=done)
    assert claims.count() == len(done), "what was done was not done again"
    calls = LedgerEntry.objects.filter(job=job, step__key__in=done).values_list("calls", flat=True)
    assert set(calls) == {1}


def paid(job: Job) -> set[str]:
    return set(job.steps.filter(kind="tool", status="completed").values_list("key", flat=True))
