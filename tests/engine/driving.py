"""Driving jobs in this process: one worker, or several, one step at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from django.db import connection

from runtime import planning, ports
from runtime.execution import run_step
from runtime.graph import Graph
from runtime.incarnation import Incarnation
from runtime.models import Job, LedgerEntry, Step
from runtime.ports import Crashed, CrashPoint
from tests.agents_app.world import world


class StillWorker(Incarnation):
    """A worker whose heart beats when the test says so, and whose clock is the test's."""

    def start(self) -> None:
        self._beat()

    beat = start


def submit(graph: Graph | Mapping[str, Any], input: Any = None, **keys: Any) -> Job:
    """A job of a graph that came with the request."""
    wire = graph.build() if isinstance(graph, Graph) else graph
    return planning.submit(None, input, graph=wire, **keys)


def doing(function: Callable[..., Any], *, id: str = "it", **keys: Any) -> Graph:
    """A graph of one step that runs `function`."""
    world.doings[id] = function
    graph = Graph()
    graph.function(id, "do", what=id, **keys)
    return graph


def calling(tool: str, *, id: str = "it", **keys: Any) -> Graph:
    """A graph of one step that calls a tool."""
    graph = Graph()
    graph.tool(id, tool, **keys)
    return graph


def drive(job: Job, worker: Incarnation, *, rounds: int = 1000) -> Job:
    """Run what is ready until nothing is."""
    for _ in range(rounds):
        ready = list(Step.objects.filter(job=job).ready().values_list("id", flat=True))
        if not ready:
            break
        for step_id in ready:
            run_step(step_id, worker)
    job.refresh_from_db()
    return job


def run_once(job: Job, worker: Incarnation, key: str = "it") -> Step:
    """One attempt of one step, due or not being the test's business."""
    step = step_of(job, key)
    run_step(step.pk, worker)
    job.refresh_from_db()
    return step_of(job, key)


def claim(job: Job, worker: Incarnation, key: str = "it") -> Step:
    """The step, claimed by a worker that does nothing with it yet."""
    step = step_of(job, key)
    step.claim(worker.id)
    return step


def step_of(job: Job, key: str = "it") -> Step:
    return Step.objects.select_related("job").get(job=job, key=key)


def entry_of(job: Job, key: str = "it", generation: int = 0) -> LedgerEntry:
    return LedgerEntry.objects.get(job=job, step__key=key, generation=generation)


def statuses(job: Job) -> dict[str, str]:
    return dict(job.steps.values_list("key", "status"))


def told(job: Job, *, step: str | None = None) -> list[str]:
    """The types of a job's events, in order."""
    events = job.events.all() if step is None else job.events.filter(step=step)
    return list(events.values_list("type", flat=True))


def last_error(job: Job, key: str = "it") -> dict[str, Any]:
    error = step_of(job, key).error
    assert isinstance(error, dict)
    return error


def why(job: Job) -> dict[str, Any]:
    """What the job failed of."""
    assert isinstance(job.error, dict)
    return job.error


@contextmanager
def crash_at(point: CrashPoint, *, time: int = 1) -> Iterator[None]:
    """The process is gone when it reaches `point` for the `time`-th time; what follows is another one."""
    reached = 0

    def hook(here: CrashPoint) -> None:
        nonlocal reached
        reached += here is point
        if here is point and reached == time:
            raise Crashed(point)

    ports.crash_hook = hook
    try:
        yield
    except Crashed:
        return
    finally:
        ports.crash_hook = lambda here: None
    raise AssertionError(f"{point} was not reached {time} times, but {reached}")


class Threads:
    """Threads that live as long as a test, so that each keeps its connection."""

    def __init__(self, count: int) -> None:
        self._pool = ThreadPoolExecutor(count)
        self._count = count

    def at_once(self, *functions: Callable[[], Any]) -> list[Any]:
        """What each function answers or raises, when all begin at the same moment."""
        assert len(functions) <= self._count
        barrier = threading.Barrier(len(functions))

        def run(function: Callable[[], Any]) -> Any:
            barrier.wait(timeout=60)
            try:
                return function()
            except Exception as error:  # the test looks at it
                return error

        return [future.result() for future in [self._pool.submit(run, each) for each in functions]]

    def close(self) -> None:
        self.at_once(*[lambda: connection.close()] * self._count)  # each its own
        self._pool.shutdown()
