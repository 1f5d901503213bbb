"""The judge of a run finds fault with what no fault explains."""

from tests.chaos.faults import Fault, Kind
from tests.chaos.ground import SHAPE
from tests.chaos.judge import more_than_in_flight

EVERYWHERE = SHAPE.workers * SHAPE.concurrency + SHAPE.heavy


def told(kind: Kind, doubts: int) -> list[str]:
    return list(more_than_in_flight([(Fault(kind, began=0.0, victim="it"), doubts)]))


def test_a_killed_worker_explains_as_many_doubts_as_it_has_threads_and_no_more() -> None:
    assert told(Kind.KILL_WORKER, SHAPE.concurrency) == []
    [violation] = told(Kind.KILL_WORKER, SHAPE.concurrency + 1)
    assert f"{SHAPE.concurrency + 1} calls in doubt" in violation


def test_a_fault_of_a_server_explains_as_many_as_all_workers_have() -> None:
    assert told(Kind.POSTGRES_CRASH, EVERYWHERE) == []
    assert told(Kind.POSTGRES_CRASH, EVERYWHERE + 1)
