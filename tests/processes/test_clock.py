"""The clock of a worker is five minutes off. Only that of the database decides anything."""

import signal
from collections.abc import Iterator
from glob import glob

import pytest

from runtime.graph import Graph
from runtime.models import Job
from runtime.planning import submit
from runtime.stack import programs
from tests.processes import LONG, load
from tests.processes.client import Client

FAKETIME = next(iter(glob("/usr/lib/*/faketime/libfaketimeMT.so.1")), None)

pytestmark = pytest.mark.skipif(
    FAKETIME is None, reason="needs libfaketime (Debian: apt install libfaketime)"
)


LATER = pytest.mark.skipif(not LONG, reason="the same the other way; runs with AETHERIS_LONG=1")


@pytest.fixture(params=["+300", pytest.param("-300", marks=LATER)])
def skewed(client: Client, request: pytest.FixtureRequest) -> Iterator[programs.Program]:
    """A worker beside those of the stack, ahead of them or behind."""
    environment = {
        **client.stack.environment,
        "LD_PRELOAD": str(FAKETIME),
        "FAKETIME": request.param,
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    arguments = programs._worker("skewed-1", "threads", 8, programs.QUEUES)
    program = programs.Program("skewed-1", client.stack.places, arguments, environment, says_ready=True)
    program.start()
    program.wait_ready()
    yield program
    program.stop()


def test_a_worker_whose_clock_is_off_takes_nothing_from_others_and_nothing_is_taken_from_it(
    client: Client, skewed: programs.Program
) -> None:
    jobs: list[Job] = []

    def has_taken_part() -> bool:
        jobs.extend(load.begin(client, jobs=30))
        client.until_finished(*jobs)
        return any(worker.name == "skewed-1" for worker in client.workers(client.ran(jobs)))

    client.until(has_taken_part, "the skewed worker to take part")
    load.assert_untouched(client, jobs)


def test_timers_and_deadlines_do_not_go_by_the_clock_of_a_worker(
    client: Client, skewed: programs.Program
) -> None:
    graph = Graph()
    timer = graph.timer("timer", "3s")
    graph.function("work", "work", seconds=0.1, timeout="20s") >> timer
    timer >> graph.function("rest", "work", seconds=0.1, timeout="20s")
    others = [client.child(name) for name in ("worker-1", "worker-2")]
    for each in others:
        each.stop(signal.SIGTERM)
    try:
        job = submit(None, None, graph=graph.build())
        client.jobs.append(job)
        client.until_finished(job)
    finally:
        for each in others:
            each.start()
    assert client.events([job], *load.INTERVENTIONS) == []
    at = dict(job.events.filter(step="timer").values_list("type", "at"))
    assert 3 <= (at["timer_fired"] - at["step_parked"]).total_seconds() < 60
