"""Small jobs: three to eight steps of every kind, with times short enough for a simulation."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from runtime.agents import agent, step
from runtime.graph import Graph
from runtime.graph.builder import Compensate
from tests.simulation.outside import CALLS

UNDOING: list[Compensate | None] = ["always", "on_failure", "on_cancel", None]


@step(name="simulated.work")
def work(context: Any, value: Any = None, fails: int = 0, calls: Any = ()) -> Any:
    """Draws a number, makes its calls one after another, and fails the first few times."""
    number = context.random()
    context.emit("drawn", {"number": number})
    answers = [context.tool(f"simulated.{name}", **_inputs(name)) for name in calls]
    if context.step.failures < fails:
        raise ValueError("this time it fails")
    return [number, value, *answers]


@agent("simulated.child")
def child() -> Graph:
    graph = Graph()
    call(graph, "charge", "charge") >> graph.function("done", "simulated.work")
    return graph


def any_graph(chance: random.Random, shapes: Sequence[str] = ()) -> Graph:
    """Of one of these shapes, or of any."""
    graph = Graph(compensate=chance.choice(UNDOING))
    SHAPES[chance.choice(shapes or list(SHAPES))](graph, chance)
    return graph


def call(graph: Graph, id: str, name: str, **keys: Any) -> Any:
    keys.setdefault("retry", {"max_attempts": 4, "backoff": 1})
    return graph.tool(id, f"simulated.{name}", timeout="20s", **_inputs(name), **keys)


def function(graph: Graph, id: str, chance: random.Random, **keys: Any) -> Any:
    fails = chance.choice([0, 0, 0, 1, 5])
    calls = chance.sample(CALLS[:-1], chance.choice([0, 0, 1, 2]))
    retry = {"max_attempts": chance.randint(2, 4), "backoff": 1}
    keys.setdefault("timeout", "20s")
    return graph.function(id, "simulated.work", fails=fails, calls=calls, retry=retry, **keys)


def chain(graph: Graph, chance: random.Random) -> None:
    previous: Any = None
    for number in range(chance.randint(2, 5)):
        node = any_node(graph, f"n{number}", chance)
        if previous is not None:
            previous >> node
        previous = node


def diamond(graph: Graph, chance: random.Random) -> None:
    top, bottom = function(graph, "top", chance), any_node(graph, "bottom", chance)
    for side in ("left", "right", "middle")[: chance.randint(2, 3)]:
        node = any_node(graph, side, chance)
        top >> node
        node >> bottom


def first_of_two(graph: Graph, chance: random.Random) -> None:
    last = function(graph, "last", chance, join="any")
    for number in range(2):
        any_node(graph, f"one{number}", chance) >> last


def for_each(graph: Graph, chance: random.Random) -> None:
    body = Graph()
    any_node(body, "a", chance) >> call(body, "b", chance.choice(["charge", "pay"]))
    each = graph.map("each", [1, 2, 3][: chance.randint(1, 3)], body, max_parallel=chance.randint(1, 2))
    each >> function(graph, "after", chance)


def signalled(graph: Graph, chance: random.Random) -> None:
    first, second = (
        graph.wait(id, signal="go", timeout="2m", on_timeout=chance.choice(["fail", {"value": 1}]))
        for id in ("go", "again")
    )
    function(graph, "before", chance) >> first >> second >> call(graph, "after", "charge")


def accepted(graph: Graph, chance: random.Random) -> None:
    call(graph, "payout", "payout") >> function(graph, "after", chance)
    if chance.random() < 0.5:
        call(graph, "other", "payout")


def undone(graph: Graph, chance: random.Random) -> None:
    one, two = call(graph, "one", "reserve"), call(graph, "two", "reserve")
    one >> two >> graph.function("fails", "simulated.work", fails=9, retry={"max_attempts": 1})


def asked(graph: Graph, chance: random.Random) -> None:
    ok = graph.approval("ok", prompt="May it?", timeout="2m")
    ok.approved >> call(graph, "yes", "charge")
    ok.rejected >> function(graph, "no", chance)
    function(graph, "before", chance) >> ok


def nested(graph: Graph, chance: random.Random) -> None:
    function(graph, "before", chance) >> graph.subjob("child", "simulated.child", input=1)


def timed(graph: Graph, chance: random.Random) -> None:
    graph.timer("timer", timedelta(seconds=chance.randint(1, 9))) >> any_node(graph, "after", chance)


def alone(graph: Graph, chance: random.Random) -> None:
    any_node(graph, "it", chance)


SHAPES: Mapping[str, Callable[[Graph, random.Random], None]] = {
    shape.__name__: shape
    for shape in (
        chain,
        diamond,
        first_of_two,
        for_each,
        signalled,
        accepted,
        undone,
        asked,
        nested,
        timed,
        alone,
    )
}


def any_node(graph: Graph, id: str, chance: random.Random) -> Any:
    kind = chance.choice(["function", "function", *CALLS[:-1]])
    return function(graph, id, chance) if kind == "function" else call(graph, id, kind)


def _inputs(name: str) -> dict[str, Any]:
    return {"what": "w"} if name == "reserve" else {}
