"""The plans that the tests run. Input: `order`, and `seconds` where a step takes its time."""

import time
from typing import Any

from runtime.agents import agent, step
from runtime.context import Context
from runtime.graph import Graph

TOOLS = ("pay", "notify", "notify_verified", "pay_verified", "payout")


@step
def pass_on(context: Context, value: Any = None) -> Any:
    return value


@step
def work(context: Context, seconds: float, after: Any = None) -> float:
    """Takes its time, and hears when it is cancelled."""
    context.wait(seconds)
    return seconds


@step
def hang(context: Context, seconds: float) -> int:
    """The first attempt hears nothing and comes back much too late."""
    if context.step.attempt == 1:
        time.sleep(seconds)  # aetheris: allow[sleep] hears no cancel, which is what it is for
    return context.step.attempt


@step
def call_inside(context: Context, tool: str, order: str) -> Any:
    """A call in the middle of a step: it is settled before the step is recorded."""
    return context.tool(tool, order=order)


@step
def call_then_work(context: Context, tool: str, order: str, seconds: float) -> Any:
    """Whoever dies at the work has made the call."""
    answer = context.tool(tool, order=order)
    context.wait(seconds)
    return answer


def _called_first(tool: str) -> None:
    @agent(f"{tool}-first")
    def first() -> Graph:
        """The call's intent is a commit of its own."""
        graph = Graph()
        call = graph.tool("call", f"witness.{tool}", order="${input.order}")
        graph.function("end", "pass_on", value=call)
        return graph

    @agent(f"{tool}-second")
    def second() -> Graph:
        """The call's intent rides in the commit that claims its step."""
        graph = Graph()
        start = graph.function("start", "pass_on", value="${input.order}")
        graph.function("end", "pass_on", value=graph.tool("call", f"witness.{tool}", order=start))
        return graph

    @agent(f"{tool}-inside")
    def inside() -> Graph:
        """The call is made by a function step."""
        graph = Graph()
        call = graph.function("call", "call_inside", tool=f"witness.{tool}", order="${input.order}")
        graph.function("end", "pass_on", value=call)
        return graph


for _tool in TOOLS:
    _called_first(_tool)


@agent("errand")
def errand() -> Graph:
    """Two calls and a message with work between them, two of the steps side by side."""
    graph = Graph()
    seconds = "${input.seconds}"
    paid = graph.tool("paid", "witness.pay", order="${input.order}")
    graph.function("left", "work", seconds=seconds, after=paid)
    graph.function("right", "work", seconds=seconds, after=paid)
    joined = graph.function("joined", "work", seconds=seconds, after="${[left, right]}")
    told = graph.tool("told", "witness.notify", order="${input.order}")
    rest = graph.function("rest", "work", seconds=seconds)
    again = graph.tool("again", "witness.pay", order="${input.order}")
    joined >> told
    told >> rest
    rest >> again
    return graph


@agent("five")
def five() -> Graph:
    """Five steps in a row, three of them calls."""
    graph = Graph()
    paid = graph.tool("paid", "witness.pay", order="${input.order}")
    noted = graph.function("noted", "pass_on", value=paid)
    told = graph.tool("told", "witness.notify", order="${input.order}")
    again = graph.tool("again", "witness.pay", order="${input.order}")
    noted >> told >> again
    graph.function("end", "pass_on", value=again)
    return graph


@agent("each")
def each() -> Graph:
    """A payment for each of many orders."""
    inner = Graph()
    inner.tool("pay", "witness.pay", order="${item}")
    graph = Graph()
    graph.map("each", "${input.orders}", inner)
    return graph


@agent("crowd")
def crowd() -> Graph:
    """Many messages of one order, of which two may be under way at a time."""
    inner = Graph()
    inner.tool("tell", "witness.notify_two_at_once", order="${input.order}")
    graph = Graph()
    graph.map("each", "${input.messages}", inner)
    return graph


@agent("long")
def long() -> Graph:
    """One step that takes long."""
    graph = Graph()
    graph.function("work", "work", seconds="${input.seconds}")
    return graph


@agent("heavy")
def heavy() -> Graph:
    """The same in the pool of processes."""
    graph = Graph()
    graph.function("work", "work", seconds="${input.seconds}", queue="heavy")
    return graph


@agent("hanging")
def hanging() -> Graph:
    """One step whose first attempt does not come back by its deadline."""
    graph = Graph()
    graph.function("hang", "hang", seconds="${input.seconds}", timeout="2s")
    return graph


@agent("undone")
def undone() -> Graph:
    """Two payments that are undone when the job is cancelled, for which it waits."""
    graph = Graph(compensate="on_cancel")
    first = graph.tool("first", "witness.pay_undoably", order="${input.order}")
    second = graph.tool("second", "witness.pay_undoably", order="${input.order}")
    first >> second >> graph.wait("wait", signal="never")
    return graph


@agent("paid-out")
def paid_out() -> Graph:
    """A payout that is undone when the job is cancelled."""
    graph = Graph(compensate="on_cancel")
    graph.tool("call", "witness.payout", order="${input.order}")
    return graph
