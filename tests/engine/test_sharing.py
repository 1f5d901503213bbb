"""Threads of one worker send their turns together: one commit for many jobs, and each turn stands for itself."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection, connections, transaction

from runtime import sharing
from runtime.exceptions import StaleAttempt
from runtime.execution import run_step
from runtime.graph import Graph
from runtime.incarnation import Incarnation
from runtime.models import Job
from runtime.stack.processes import wait_until
from tests.engine.driving import calling, claim, doing, drive, step_of, submit, told

pytestmark = pytest.mark.pg_slice


@pytest.fixture
def lanes() -> Iterator[tuple[sharing.Lane, ...]]:
    """This process shares its commits, as a worker with threads does."""
    sharing.begin()
    assert sharing._lanes is not None
    yield sharing._lanes
    sharing.end()


@pytest.fixture
def threads() -> Iterator[Callable[[Callable[[], Any]], Future[Any]]]:
    pool = ThreadPoolExecutor(8)

    def begin(work: Callable[[], Any]) -> Future[Any]:
        return pool.submit(closing, work)

    yield begin
    pool.shutdown()


def closing(work: Callable[[], Any]) -> Any:
    try:
        return work()
    finally:
        connections.close_all()


def until(condition: Callable[[], bool]) -> None:
    assert wait_until(condition, timeout=60, pause=0.005), "it never came to pass"


class Meanwhile:
    """Somebody is sending: who comes now stands in the line until the end of the block."""

    def __init__(self, lane: sharing.Lane, count: int) -> None:
        self.lane, self.count = lane, count

    def __enter__(self) -> None:
        self.lane._busy = True

    def __exit__(self, *exit: object) -> None:
        until(lambda: len(self.lane._line) == self.count)
        self.lane._pass_on([])


def test_turns_that_wait_together_go_in_one_transaction(lanes, threads, worker):
    jobs = [submit(doing(lambda context: 1)) for _ in range(6)]
    steps = [claim(job, worker) for job in jobs]
    with Meanwhile(lanes[0], len(steps)):
        done = [threads(lambda step=step: step.complete(1)) for step in steps]
    assert [one.result() for one in done] == [None] * 6
    assert {Job.objects.get(pk=job.pk).status for job in jobs} == {"completed"}
    assert last_statement(lanes[0]) == "SELECT aetheris_turns($1::jsonb, $2)"


def last_statement(lane: sharing.Lane) -> str:
    """As PostgreSQL saw it."""
    assert lane._connection is not None
    pid = lane._connection.connection.info.backend_pid
    with connection.cursor() as cursor:
        cursor.execute("SELECT query FROM pg_stat_activity WHERE pid = %s", [pid])
        return str(cursor.fetchone()[0])


def test_a_turn_that_is_refused_takes_nothing_of_the_others_along(lanes, threads, worker):
    good, stale, other = (claim(submit(doing(lambda context: 1)), worker) for _ in range(3))
    stale.attempt += 1
    with Meanwhile(lanes[0], 3):
        done = [threads(lambda step=step: step.complete(1)) for step in (good, stale, other)]
    assert isinstance(done[1].exception(), StaleAttempt)
    assert [one.exception() for one in (done[0], done[2])] == [None, None]
    assert [step_of(step.job).status for step in (good, stale, other)] == [
        "completed",
        "running",
        "completed",
    ]


def test_an_error_that_no_turn_foresees_reaches_its_own_thread_only(lanes, threads, worker):
    good, bad = (claim(submit(doing(lambda context: 1)), worker) for _ in range(2))
    turn = bad.turn(worker=worker.id)
    turn._op("nonsense")
    with Meanwhile(lanes[0], 2):
        done = [threads(lambda: good.complete(1)), threads(turn.commit)]
    assert done[0].exception() is None
    assert "unknown operation nonsense" in str(done[1].exception())


def test_a_job_that_somebody_holds_keeps_nobody_else_waiting(lanes, threads, worker):
    held, free = (claim(submit(doing(lambda context: 1)), worker) for _ in range(2))
    with transaction.atomic():
        Job.objects.select_for_update().get(pk=held.job_id)
        waiting = threads(lambda: held.complete(1))
        threads(lambda: free.complete(1)).result(timeout=60)
        assert step_of(free.job).status == "completed"
        assert not waiting.done()
    waiting.result(timeout=60)
    assert step_of(held.job).status == "completed"


def test_a_broken_connection_is_replaced_and_every_turn_happens_once(lanes, threads, worker):
    steps = [claim(submit(doing(lambda context: 1)), worker) for _ in range(4)]
    lanes[0].send(sharing.Sent('{"step": 0, "log": "x"}', None))
    cut = lanes[0]._connection.connection.info.backend_pid
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [cut])
    with Meanwhile(lanes[0], 4):
        done = [threads(lambda step=step: step.complete(1)) for step in steps]
    assert [one.result() for one in done] == [None] * 4
    assert [told(step.job).count("step_completed") for step in steps] == [1] * 4


def test_a_turn_inside_a_transaction_is_part_of_it(lanes, worker):
    step = claim(submit(doing(lambda context: 1)), worker)
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        step.complete(1)
        _ = 1 / 0
    assert step_of(step.job).status == "running"


def test_whole_jobs_run_side_by_side(lanes, threads, worker, outside):
    def run(job: Job, worker: Incarnation) -> None:
        while step := job.steps.ready().first():
            run_step(step.pk, worker)

    jobs = [submit(chain_with_tool()) for _ in range(12)]
    for one in [threads(lambda job=job: run(job, worker)) for job in jobs]:
        one.result()
    assert {drive(job, worker).status for job in jobs} == {"completed"}
    assert len(outside.effects()) == 12


def chain_with_tool() -> Graph:
    graph = calling("charge", amount=1)
    graph.function("after", "say")
    return graph
