"""Limits hold over all workers: the outside counts how many speak to it at the same time."""

from runtime.states import JobStatus
from tests.processes.client import Client

MESSAGES = 12


def test_no_more_calls_are_under_way_at_once_than_the_tool_allows_however_many_workers(
    client: Client,
) -> None:
    client.until(lambda: _workers_in_a_crowd(client) == 2, "both workers to take part")


def _workers_in_a_crowd(client: Client) -> int:
    order = client.new_order()
    client.witness.answer_slowly(order, 0.3)
    job = client.submit("crowd", order=order, messages=list(range(MESSAGES)))
    client.until_finished(job)

    assert job.status == JobStatus.COMPLETED
    assert client.witness.most_at_once(job) == 2
    assert client.witness.effects(job) == client.witness.requests(job) == MESSAGES
    assert set(job.steps.values_list("failures", flat=True)) == {0}, (
        "a step that waits for its turn has not failed"
    )
    return len(client.ran([job]))
