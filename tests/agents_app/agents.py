"""Small agents, and the steps they are made of."""

from typing import Any

from runtime.agents import agent, step
from runtime.exceptions import Permanent
from runtime.graph import Graph
from tests.agents_app.world import world


@step
def say(context: Any, value: Any = None, **inputs: Any) -> Any:
    """Answers what it was given."""
    return value


@step
async def say_later(context: Any, value: Any = None) -> Any:
    return value


@step
def add(context: Any, one: int = 0, other: int = 1) -> int:
    return one + other


@step
def do(context: Any, what: str, **inputs: Any) -> Any:
    """Runs what the test put into `world.doings`."""
    return world.doings[what](context, **inputs)


@agent("echo")
def echo() -> Graph:
    """One step that answers the job's input."""
    graph = Graph()
    graph.function("echo", "say", value="${input}")
    return graph


@agent("charge")
def charge() -> Graph:
    """One call of a tool that must not be repeated."""
    graph = Graph()
    graph.tool("charge", "charge", amount="${input.amount}")
    return graph


@agent("counting")
def counting() -> Graph:
    """A straight line of ten steps, each adding one."""
    graph = Graph()
    previous = graph.function("s0", "add", one=0)
    for number in range(1, 10):
        previous = graph.function(f"s{number}", "add", one=previous)
    return graph


@agent("diamond")
def diamond() -> Graph:
    graph = Graph()
    top = graph.function("top", "say", value="${input}")
    left = graph.function("left", "add", one=1)
    right = graph.function("right", "add", one=2)
    bottom = graph.function("bottom", "add", one=left, other=right)
    top >> [left, right]
    [left, right] >> bottom
    return graph


@agent("fan")
def fan() -> Graph:
    """One step, twenty after it, one that joins them."""
    graph = Graph()
    first, last = graph.function("first", "say"), graph.function("last", "say", value="joined")
    for number in range(20):
        middle = graph.function(f"m{number}", "say", value=number)
        first >> middle
        middle >> last
    return graph


@agent("ask")
def ask() -> Graph:
    """Refunds small amounts at once and asks a person above 100."""
    graph = Graph()
    big = graph.condition("big", "input.amount > 100.0")
    ok = graph.approval(
        "ok",
        prompt="Refund ${input.amount}?",
        schema={"type": "object", "properties": {"why": {"type": "string"}}, "required": ["why"]},
        timeout="2d",
    )
    refund = graph.tool("refund", "charge", amount="${input.amount}")
    big.when(True) >> ok
    ok.approved >> refund
    big.when(False) >> refund
    graph.result({"refund": refund})
    return graph


@agent("wait")
def wait() -> Graph:
    """Waits for the signal `go` and answers its payload."""
    graph = Graph()
    graph.wait("go", signal="go")
    return graph


@agent("failing")
def failing() -> Graph:
    """Fails at once: its one step is told to raise what nobody can mend."""
    graph = Graph()
    graph.function("fails", "refuse")
    return graph


@step
def refuse(context: Any) -> None:
    raise Permanent("this step always fails")
