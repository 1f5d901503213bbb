"""Jobs that do, between them, everything that the checker has a rule for; and what the world knows of them."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from runtime import clock, recovery
from runtime.exceptions import Permanent
from runtime.graph import Graph
from runtime.models import Event, Job
from runtime.ports import CrashPoint
from tests.agents_app.world import world
from tests.engine.driving import StillWorker, crash_at, doing, drive, run_once, submit
from tests.history.export import Known, lines
from tools import Refused

TOOLS = dict.fromkeys(("charge", "notify", "reserve", "release", "book"), "requests")


def records() -> list[dict[str, Any]]:
    """The history of a run that has come to rest, with the world and the clients in it, line by line."""
    worker, other = StillWorker(name="first"), StillWorker(name="other")
    worker.start()
    try:
        jobs = _begin()
        for job in jobs.values():
            drive(job, worker)
        signalled = _go_on(jobs, worker)
        faults = [_lose_a_worker(other, worker), *_lose_a_call(worker)]
        known = Known(
            at_rest=True,
            tools=TOOLS,
            effects=[{"key": call.key} for call in world.calls],
            faults=faults,
            submits=[job.pk for job in Job.objects.all()],
            signalled=signalled,
            seen=[
                (event.job_id, event.seq, bytes(event.digest))
                for event in Event.objects.filter(type="job_completed")
            ],
        )
        return [json.loads(line) for line in lines(known)]
    finally:
        clock.shift(timedelta(0))
        worker.stop()
        other.stop()


def _begin() -> dict[str, Job]:
    world.doings |= {"say": lambda context, **inputs: 1, "trip": _trip}
    graphs = {
        "chain": _chain(),
        "map": _map(),
        "subjob": _subjob(),
        "talk": _talk(),
        "ask": _ask(),
        "timer": _timer(),
        "retried": doing(_once_broken, id="breaks"),
        "undone": _undone(),
        "reopened": doing(_once_wrong, id="fails"),
        "cancelled": _talk(),
        "refused": _refused(),
    }
    return {name: submit(graph, {"of": name}, idempotency_key=name) for name, graph in graphs.items()}


def _go_on(jobs: dict[str, Job], worker: StillWorker) -> list[tuple[Any, str, str]]:
    """What does not happen by itself; the signals that were accepted on the way."""
    signalled = []
    for name, number in (("again", 1), ("first", 2), ("again", 3), ("again", 4)):
        jobs["talk"].signal(name, number, dedup_id=f"s{number}")
        signalled.append((jobs["talk"].pk, name, f"s{number}"))
    drive(jobs["talk"], worker)
    jobs["cancelled"].cancel(by="sample", why="to be cancelled")
    jobs["reopened"].retry(by="sample", why="it is mended")
    rested = submit(_talk(), {"of": "rested"})
    rested.pause(by="sample", why="a moment")
    drive(rested, worker)
    rested.resume(by="sample", why="enough")
    drive(rested, worker)
    clock.shift(timedelta(hours=1))
    worker.beat()
    recovery.wake_due()
    while ready := list(Job.objects.filter(ready_steps__gt=0)):
        for job in ready:
            drive(job, worker)
    return signalled


def _lose_a_worker(lost: StillWorker, worker: StillWorker) -> dict[str, Any]:
    """It dies after a call that may be repeated."""
    lost.start()
    graph = Graph()
    graph.tool("it", "notify", to="twice")
    job = submit(graph, {"of": "rescued"})
    with crash_at(CrashPoint.AFTER_CALL):
        run_once(job, lost)
    at = clock.database_now()
    clock.shift(clock.offset() + timedelta(minutes=1))
    worker.beat()
    recovery.rescue_lost()
    clock.shift(clock.offset() + timedelta(minutes=1))
    worker.beat()
    drive(job, worker)
    return {"class": "process", "kind": "crash", "at": at.isoformat(), "worker": str(lost.id)}


def _lose_a_call(worker: StillWorker) -> list[dict[str, Any]]:
    """Nobody knows what became of it; its step waits for a person."""
    world.after["charge"].append(TimeoutError("silence"))
    graph = Graph()
    graph.tool("it", "charge", amount=3)
    job = submit(graph, {"of": "doubt"})
    run_once(job, worker)
    return [{"class": "call", "kind": "lost answer", "at": clock.database_now().isoformat()}]


# Graphs


def _chain() -> Graph:
    graph = Graph()
    graph.function("a", "do", what="say") >> graph.tool("b", "charge") >> graph.tool("c", "notify")
    return graph


def _map() -> Graph:
    inner, graph = Graph(), Graph()
    inner.tool("reserve", "reserve", what="w")
    graph.map("each", [1, 2], inner)
    return graph


def _subjob() -> Graph:
    graph = Graph()
    graph.subjob("sub", "echo", input=1)
    return graph


def _talk() -> Graph:
    """Hears `first`, then `again` twice, and then waits for what never comes."""
    graph = Graph()
    first = graph.wait("w1", signal="first")
    (
        first
        >> graph.wait("w2", signal="again")
        >> graph.wait("w3", signal="again")
        >> graph.wait("w4", signal="never")
    )
    return graph


def _ask() -> Graph:
    graph = Graph()
    graph.approval("ok", prompt="Go?", timeout="90d")
    return graph


def _timer() -> Graph:
    graph = Graph()
    graph.timer("t", "10m")
    return graph


def _undone() -> Graph:
    graph = Graph(compensate="on_failure")
    (
        graph.tool("r1", "reserve", what="x")
        >> graph.tool("r2", "reserve", what="y")
        >> graph.function("last", "do", what="trip")
    )
    return graph


def _refused() -> Graph:
    """A call that the outside refuses; that is handled."""
    world.before["book"].append(Refused("no rooms"))
    graph = Graph()
    graph.tool("it", "book").failed >> graph.function("instead", "do", what="say")
    return graph


def _trip(context: Any) -> None:
    raise Permanent("the end")


def _once_broken(context: Any) -> int:
    if context.step.attempt == 1:
        raise ValueError("for now")
    return 1


def _once_wrong(context: Any) -> int:
    if context.step.attempt == 1:
        raise Permanent("for good")
    return 1
