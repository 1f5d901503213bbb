"""A worker is gone at each crash point, and around each COMMIT, of a step of each kind: the job ends as ever."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from runtime import ports, recovery, resolution
from runtime.graph import Graph
from runtime.models import Job, LedgerEntry, Step
from runtime.ports import Crashed, CrashPoint
from runtime.turn import Turn
from tests.agents_app.world import world
from tests.engine.driving import StillWorker, drive, submit
from tools import Compensation, Happened

NEVER_SWEPT = {CrashPoint.IN_SWEEP}
"""A worker does not come by here; `test_a_sweep_that_crashes_is_done_by_the_next` does."""

reached: Counter[CrashPoint] = Counter()


def _function(graph: Graph) -> None:
    graph.function("it", "do", what="twice")


def _chain(graph: Graph) -> None:
    graph.tool("a", "charge") >> graph.tool("b", "notify") >> graph.function("c", "say", value=1)


def _map(graph: Graph) -> None:
    body = Graph()
    body.tool("pay", "charge")
    graph.map("each", [1, 2], body)


def _wait(graph: Graph) -> None:
    graph.wait("go", signal="go") >> graph.tool("after", "charge")


def _timer(graph: Graph) -> None:
    graph.timer("timer", "10s") >> graph.tool("after", "charge")


def _subjob(graph: Graph) -> None:
    graph.subjob("child", "charge", input={"amount": 5})


def _accepted(graph: Graph) -> None:
    graph.tool("payout", "payout")


def _undone(graph: Graph) -> None:
    undo = Compensation("release", {"what": "w"})
    graph.tool("one", "charge", compensate=undo) >> graph.function("fails", "refuse")


def _condition(graph: Graph) -> None:
    big = graph.condition("big", "1 > 0")
    big.when(True) >> graph.tool("yes", "charge")
    big.when(False) >> graph.tool("no", "charge")


KINDS: Mapping[str, Callable[[Graph], None]] = {
    kind.__name__[1:]: kind
    for kind in (_function, _chain, _map, _wait, _timer, _subjob, _accepted, _undone, _condition)
}


class Crash:
    """The worker is gone when it comes by a moment for the n-th time; without one, moments are counted."""

    def __init__(self, moment: str = "", time: int = 0) -> None:
        self.moment, self.time = moment, time
        self.seen: Counter[str] = Counter()

    def by(self, moment: str) -> None:
        self.seen[moment] += 1
        if moment == self.moment and self.seen[moment] == self.time:
            raise Crashed(moment)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        real = Turn._call

        def call(turn: Turn) -> Any:
            self.by("before COMMIT")
            answer = real(turn)
            self.by("after COMMIT")
            return answer

        def hook(point: CrashPoint) -> None:
            reached[point] += 1
            self.by(point)

        with pytest.MonkeyPatch.context() as patch, suppress(Crashed):
            patch.setattr(Turn, "_call", call)
            patch.setattr(ports, "crash_hook", hook)
            yield


@pytest.mark.parametrize("kind", KINDS)
def test_a_worker_that_is_gone_at_any_moment_changes_nothing(kind, worker, other, clock):
    world.doings["twice"] = lambda context: [
        context.random(),
        context.tool("charge"),
        context.tool("notify"),
    ][1:]
    whole = Crash()
    expected = _ends(kind, whole, worker, other, clock)
    for moment, times in whole.seen.items():
        for time in range(1, times + 1):
            assert _ends(kind, Crash(moment, time), worker, other, clock) == expected, (
                f"{moment}, time {time}"
            )


def test_every_crash_point_was_reached():
    """By the tests above, which a run of this file has made."""
    if len(reached) > 1:
        assert set(CrashPoint) - set(reached) - NEVER_SWEPT == set()


def test_a_sweep_that_crashes_is_done_by_the_next(worker, other, clock):
    job = submit(_built("chain"))
    with Crash(CrashPoint.AFTER_CLAIM, 1).at_work():
        drive(job, worker)
    clock.forward(minutes=1)
    with Crash(CrashPoint.IN_SWEEP, 1).at_work():
        recovery.rescue_lost()
    assert recovery.rescue_lost() == 1
    other.beat()
    assert drive(job, other).status == "completed"


def _ends(kind: str, crash: Crash, worker: StillWorker, other: StillWorker, clock: Any) -> Any:
    """How a job of this kind ends, and what it did outside, when its worker is gone at that moment."""
    before = len(world.calls)
    worker.beat()
    job = submit(_built(kind))
    job.signal("go", 1)
    with crash.at_work():
        _finish(job, worker, clock)
    _finish(job, other, clock)
    done = Counter(call.tool for call in world.calls[before:] if call.tool != "notify")  # that keeps its key
    job.refresh_from_db()
    return job.status, job.result, done, dict(job.steps.values_list("key", "status"))


def _built(kind: str) -> Graph:
    graph = Graph(compensate="always")
    KINDS[kind](graph)
    return graph


def _finish(job: Job, worker: StillWorker, clock: Any) -> None:
    for _ in range(20):
        worker.beat()
        world.polls.append(Happened({"paid": 1}))
        for each in Job.objects.unfinished():
            drive(each, worker)
        job.refresh_from_db()
        if job.is_finished:
            break
        _settle()
        clock.forward(minutes=5)
        recovery.rescue_lost()
        worker.beat()
        recovery.wake_due()
        recovery.tell_parents()
    world.polls.clear()


def _settle() -> None:
    """A person says of each doubt what is so."""
    done = {call.key: call.arguments for call in world.calls}
    waiting = Step.objects.filter(waiting_for__startswith="unknown:")
    for doubt in LedgerEntry.objects.in_doubt().filter(step__in=waiting):
        key = str(doubt.idempotency_key)
        if key in done:
            result = {"paid": 1} if doubt.name == "payout" else {"charged": done[key].get("amount")}
            resolution.resolve(doubt, "happened", by="a", why="looked", result=result)
        else:
            resolution.resolve(doubt, "absent", by="a", why="looked")
