"""A turn reads the rows that it is about, however many others there are, though its plans are older than they."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
from django.db import connection, transaction

from runtime.execution import run_step
from runtime.graph import Graph
from runtime.models import Edge, Event, EventPart, Job, LedgerEntry, Scope, Signal, Step, Wait
from runtime.outcomes import Waiting
from tests.engine.driving import StillWorker, claim, doing, drive, entry_of, step_of, submit
from tests.engine.scoped import body, run_alone

pytestmark = pytest.mark.pg_slice

GROWING = (Job, Step, Edge, Scope, Event, EventPart, LedgerEntry, Signal, Wait)
READY, PARKED = 1000, 100
FEW = 60


def beside(ready: int, parked: int) -> Graph:
    """A line, a call, a wait, a join and a map beside so many steps that are ready and so many that wait."""
    graph = Graph()
    first = graph.function("first", "say")
    first >> graph.function("second", "say") >> graph.function("third", "say")
    graph.tool("call", "charge", amount=1)
    graph.wait("wait", signal="go")
    graph.function("it", "say")
    for number in range(ready):
        graph.function(f"ready{number}", "say")
    for number in range(parked):
        graph.wait(f"parked{number}", signal=f"never{number}")
    last = graph.function("last", "say")
    for number in range(parked):
        graph.function(f"parent{number}", "say") >> last
    graph.map("each", list(range(parked)), body(), max_parallel=2, completion={"tolerated_failures": 1})
    return graph


@dataclass
class Crowd:
    job: Job
    worker: StillWorker

    def step(self, key: str) -> Step:
        return step_of(self.job, key)

    def claimed(self, key: str) -> Step:
        return claim(self.job, self.worker, key)

    def ready_again(self, key: str) -> Step:
        self.claimed(key).retry({"type": "E"})
        return self.step(key)


@pytest.fixture
def no_autovacuum() -> Iterator[None]:
    """What is known of the tables is what the test says. Their files begin anew: what is left of rows that were deleted
    has a say in plans, too."""
    names = [model._meta.db_table for model in GROWING]
    execute(
        f"TRUNCATE {', '.join(names)}",
        *(f"ALTER TABLE {name} SET (autovacuum_enabled = off)" for name in names),
    )
    yield
    execute(*(f"ALTER TABLE {name} RESET (autovacuum_enabled)" for name in names))


@pytest.fixture(params=["unknown", "empty", "full"])
def crowd(request: pytest.FixtureRequest, worker: StillWorker, no_autovacuum: None) -> Crowd:
    """Plans are made while the tables are empty: so does a worker that is started with them."""
    connection.close()
    if request.param == "empty":
        execute("ANALYZE")
    small = submit(beside(1, 1))
    worker.others = ("realtime", "default")
    drive(small, worker)
    small.signal("go")
    drive(small, worker)
    small.cancel()
    worker.others = ()
    crowd = Crowd(submit(beside(READY, PARKED)), worker)
    for step in crowd.job.steps.filter(key__startswith="parked"):
        step.claim(worker.id)
        park(step)
    run_alone(crowd.job, worker, "each")
    if request.param == "full":
        execute("ANALYZE")
    return crowd


def execute(*statements: str) -> None:
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def park(step: Step) -> None:
    with step.turn(worker=step.worker_id) as turn:
        turn.park(step, Waiting(kind="signal", name="never"))


@contextmanager
def few_rows_read() -> Iterator[None]:
    with transaction.atomic():
        before = _rows_read()
        yield
        read = _rows_read() - before
    assert read <= FEW


def _rows_read() -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0)) FROM pg_stat_xact_user_tables"
            " WHERE relname LIKE 'aetheris_%%'"
        )
        return int(cursor.fetchone()[0])


Prepare = Callable[[Crowd], Step]
TURNS: dict[str, tuple[Prepare, Callable[[Crowd, Step], object]]] = {
    "claim": (lambda crowd: crowd.step("it"), lambda crowd, step: step.claim(crowd.worker.id)),
    "complete": (lambda crowd: crowd.claimed("it"), lambda crowd, step: step.complete(1)),
    "complete, with a step that follows": (
        lambda crowd: crowd.claimed("first"),
        lambda crowd, step: step.complete(1),
    ),
    "complete, before a join": (
        lambda crowd: crowd.claimed("parent0"),
        lambda crowd, step: step.complete(1),
    ),
    "complete, one item of many": (
        lambda crowd: crowd.claimed("each[0].it"),
        lambda crowd, step: step.complete(1),
    ),
    "fail, one item of many": (
        lambda crowd: crowd.claimed("each[0].it"),
        lambda crowd, step: step.fail({"type": "E"}),
    ),
    "retry": (lambda crowd: crowd.claimed("it"), lambda crowd, step: step.retry({"type": "E"})),
    "claim again": (lambda crowd: crowd.ready_again("it"), lambda crowd, step: step.claim(crowd.worker.id)),
    "park": (lambda crowd: crowd.claimed("it"), lambda crowd, step: park(step)),
    "rescue": (lambda crowd: crowd.claimed("it"), lambda crowd, step: step.rescue()),
}


@pytest.mark.parametrize("turn", TURNS)
def test_a_turn_reads_few_rows(crowd: Crowd, turn: str) -> None:
    prepare, take = TURNS[turn]
    step = prepare(crowd)
    events = crowd.job.events.count()
    with few_rows_read():
        take(crowd, step)
    assert crowd.job.events.count() > events


WAKING: dict[str, Callable[[Wait], object]] = {
    "signal": lambda wait: wait.job.signal("never"),
    "time out": lambda wait: wait.time_out(),
}


@pytest.mark.parametrize("wake", WAKING)
def test_waking_reads_few_rows(crowd: Crowd, wake: str) -> None:
    wait = crowd.step("parked0").waits.select_related("job").get()
    with few_rows_read():
        WAKING[wake](wait)
    assert crowd.step("parked0").status == "ready"


def test_going_on_with_another_job_reads_few_rows(crowd: Crowd) -> None:
    step = claim(submit(doing(lambda context: 1)), crowd.worker)
    queues = ("realtime", "default")
    with few_rows_read(), step.turn(worker=crowd.worker.id) as turn:
        turn.complete(step, 1)
        turn.claim(queues=(), others=queues)
    assert turn.answer["taken"]["claimed"]


ENDING: dict[str, Callable[[Job, StillWorker], object]] = {
    "cancel": lambda job, worker: job.cancel(),
    "fail": lambda job, worker: claim(job, worker, "a").fail({"type": "E"}),
}


@pytest.mark.parametrize("end", ENDING)
def test_ending_another_job_reads_few_rows(crowd: Crowd, end: str) -> None:
    graph = Graph()
    graph.function("a", "say") >> graph.function("b", "say")
    job = submit(graph)
    with few_rows_read():
        ENDING[end](job, crowd.worker)
    assert step_of(job, "b").status == "cancelled"


def test_a_call_reads_few_rows(crowd: Crowd) -> None:
    step = crowd.step("call")
    crowd.worker.drain()  # it goes on with nothing else
    with few_rows_read():
        run_step(step.pk, crowd.worker)
    assert entry_of(crowd.job, "call").state == "committed"
