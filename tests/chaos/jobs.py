"""What is submitted while everything breaks: graphs of every kind, and calls that go wrong outside as well."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from uuid import uuid4

from runtime.graph import Graph

ORDER = "${input.order}"


@dataclass
class Plan:
    """A job that is to be submitted, and what befalls its calls and its people."""

    order: str
    shape: str
    graph: Graph
    faults: list[dict[str, object]] = field(default_factory=list)
    """As `POST /faults` of the witness takes them."""
    signals: int = 0
    """How often its signal is delivered, always with the same id."""
    webhooks: int = 0
    """How often the end of its payout is told."""

    @property
    def input(self) -> dict[str, object]:
        return {"order": self.order, "orders": [f"{self.order}-{number}" for number in range(3)]}


def errand() -> Graph:
    graph = Graph()
    paid = graph.tool("paid", "witness.pay", order=ORDER)
    graph.function("left", "work", seconds=0.2, after=paid)
    graph.function("right", "work", seconds=0.1, after=paid)
    joined = graph.function("joined", "work", seconds=0.1, after="${[left, right]}")
    told = graph.tool("told", "witness.notify", order=ORDER)
    found = graph.tool("found", "witness.notify_verified", order=ORDER)
    joined >> told >> found
    return graph


def chain() -> Graph:
    graph = Graph()
    start = graph.function("start", "pass_on", value=ORDER)
    told = graph.tool("told", "witness.notify", order=start)
    paid = graph.tool("paid", "witness.pay_verified", order=ORDER)
    told >> paid >> graph.function("rest", "work", seconds=0.3)
    return graph


def each() -> Graph:
    inner = Graph()
    told = inner.tool("told", "witness.notify", order="${item}")
    told >> inner.tool("paid", "witness.pay", order="${item}")
    graph = Graph()
    graph.map("each", "${input.orders}", inner)
    return graph


def inside() -> Graph:
    graph = Graph()
    told = graph.function("told", "call_inside", tool="witness.notify", order=ORDER)
    paid = graph.function("paid", "call_inside", tool="witness.pay", order=ORDER)
    told >> paid
    return graph


def heavy() -> Graph:
    graph = Graph()
    told = graph.function("told", "call_inside", tool="witness.notify", order=ORDER, queue="heavy")
    told >> graph.function("rest", "work", seconds=0.2, queue="heavy")
    return graph


def waiting() -> Graph:
    graph = Graph()
    paid = graph.tool("paid", "witness.pay", order=ORDER)
    heard = graph.wait("heard", signal="go")
    paid >> heard >> graph.tool("told", "witness.notify", order=ORDER)
    return graph


def timed() -> Graph:
    graph = Graph()
    told = graph.tool("told", "witness.notify", order=ORDER)
    told >> graph.timer("later", "1s") >> graph.tool("paid", "witness.pay", order=ORDER)
    return graph


def payout() -> Graph:
    graph = Graph()
    paid = graph.tool("paid", "witness.payout", order=ORDER)
    paid >> graph.tool("told", "witness.notify", order=ORDER)
    return graph


def undone() -> Graph:
    """Two payments; then it is cancelled, and they are undone."""
    graph = Graph(compensate="on_cancel")
    first = graph.tool("first", "witness.pay_undoably", order=ORDER)
    first >> graph.tool("second", "witness.pay_undoably", order=ORDER) >> graph.wait("wait", signal="never")
    return graph


def parent() -> Graph:
    graph = Graph()
    graph.subjob("child", "notify-second", input={"order": ORDER})
    return graph


SHAPES: list[Callable[[], Graph]] = [
    errand, errand, chain, each, inside, heavy, waiting, timed, payout, payout, undone, parent,
]  # fmt: skip
REPEATABLE = ("/refunds",)
"""Where a lost answer puts nothing in doubt: the tools that go there are idempotent or can be verified."""


def plans(seed: int, *, with_faults: bool = True) -> Iterator[Plan]:
    """The jobs of a seed, without end. Without faults, whatever they call answers, soon and truly."""
    chance = random.Random(f"jobs {seed}")
    while True:
        for make in chance.sample(SHAPES, len(SHAPES)):
            plan = _plan(make, chance)
            yield plan if with_faults else replace(plan, faults=[])


def _plan(make: Callable[[], Graph], chance: random.Random) -> Plan:
    # Runs on one ground may have one seed: what identifies an order does not come from it.
    plan = Plan(order=uuid4().hex, shape=make.__name__, graph=make())
    match plan.shape:
        case "errand" | "chain" | "inside" if chance.random() < 0.25:
            plan.faults.append(_lost_answer(chance, "/refunds") | {"order": plan.order})
        case "each" if chance.random() < 0.25:
            plan.faults.append(_lost_answer(chance, "/refunds") | {"order": f"{plan.order}-1"})
        case "timed" | "heavy" if chance.random() < 0.02:
            plan.faults.append(_lost_answer(chance, "/messages") | {"order": plan.order})
        case "waiting":
            plan.signals = chance.randint(1, 2)
        case "payout":
            plan.webhooks = chance.randint(1, 2)
            if chance.random() < 0.4:  # time enough for the webhook to come first
                plan.faults.append({"kind": "late", "seconds": 1.0, "path": "/payouts", "order": plan.order})
    return plan


def _lost_answer(chance: random.Random, path: str) -> dict[str, object]:
    """After the effect: no answer, half of one, an error, or one that takes longer than a lease."""
    kind = chance.choice(["reset", "truncate", "fail", "late"])
    fault: dict[str, object] = {"kind": kind, "at": "after", "path": path}
    return fault | ({"seconds": 6.5} if kind == "late" else {})
