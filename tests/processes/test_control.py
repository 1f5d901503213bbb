"""Which worker runs what: capabilities, urgent queues, and agents that rest, with real workers."""

from collections.abc import Iterator

import pytest

from runtime import figures, holds, planning
from runtime.graph import Graph
from runtime.models import Job, Worker
from runtime.models.hold import HoldKind
from runtime.stack import programs
from runtime.states import JobStatus
from tests.processes.client import Client

MANY = 2000


def submit(client: Client, graph: Graph, input: object = None, **keys: object) -> Job:
    job = planning.submit(None, input, graph=graph.build(), **keys)
    client.jobs.append(job)
    return job


def working(seconds: float, **keys: object) -> Graph:
    graph = Graph()
    graph.function("work", "work", seconds=seconds, **keys)
    return graph


@pytest.fixture
def able(client: Client) -> Iterator[programs.Program]:
    """One more worker, which has what the others lack. Not started yet."""
    stack = client.stack
    arguments = programs._worker("able-1", "threads", 2, programs.QUEUES)
    environment = {**stack.environment, "AETHERIS_CAPABILITIES": "gpu,cuda"}
    able = programs.Program("able-1", stack.places, arguments, environment, says_ready=True)
    yield able
    able.stop()


def test_a_step_waits_for_the_worker_that_has_what_it_requires_and_runs_there(
    client: Client, able: programs.Program
) -> None:
    jobs = [submit(client, working(0.01, requires=["gpu"])) for _ in range(5)]
    plain = submit(client, working(0.01))
    client.until_finished(plain)
    [nobody] = figures.unserved()
    assert (nobody.queue, nobody.requires, nobody.steps) == ("default", ["gpu"], 5)

    able.start()
    client.until_finished(*jobs)
    assert {job.status for job in jobs} == {JobStatus.COMPLETED}
    names = Worker.objects.filter(pk__in=client.ran(jobs)).values_list("name", flat=True)
    assert set(names) == {"able-1"}
    assert figures.unserved() == []


def test_an_urgent_job_overtakes_thousands_of_steps_in_the_background(client: Client) -> None:
    inner = Graph()
    inner.function("work", "work", seconds=0.05, queue="background")
    graph = Graph()
    graph.map("each", "${input}", inner)
    crowd = submit(client, graph, list(range(MANY)))
    client.until(crowd.steps.filter(queue="background", status="running").exists, "the crowd to begin")

    urgent = submit(client, working(0.01), queue="realtime")
    client.until_finished(urgent)
    assert crowd.steps.filter(status="ready").count() > MANY // 4
    crowd.cancel()


def test_an_agent_that_rests_is_not_touched_by_any_worker_and_goes_on_when_told(client: Client) -> None:
    holds.begin(HoldKind.AGENT, planning.AD_HOC, why="maintenance")
    try:
        resting = submit(client, working(0.01))
        other = client.submit("long", seconds=0.01)
        client.until_finished(other)
        assert not resting.events.filter(type="step_claimed").exists()
    finally:
        holds.end(HoldKind.AGENT, planning.AD_HOC)
    client.until_finished(resting)
