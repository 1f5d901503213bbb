"""One graph a shape, a node that is gone round to for each step, and PostgresSaver over a pool of connections. It is a
library: jobs come to its threads through Valkey, and nothing takes over from a process that dies. `durability="sync"`:
a step is stored before the next begins, as everybody else here does it; the default stores it meanwhile."""

import operator
import time
from collections.abc import Callable
from functools import cache
from typing import Annotated, Any, TypedDict

from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, Send, interrupt
from psycopg.rows import dict_row
from psycopg_pool import ConnectionPool

from benchmarks import witness
from benchmarks.orders import CONCURRENCY, SLOW_SECONDS, Order, variable
from benchmarks.systems import handover
from benchmarks.systems.handover import signal, submit, wait  # noqa: F401 - part of this system


class State(TypedDict, total=False):
    job: str
    size: int
    step: int
    parts: Annotated[list[int], operator.add]


def note(state: State) -> State:
    return {"step": witness.note(state["job"], state["step"])}


def slow(state: State) -> State:
    following = note(state)
    time.sleep(SLOW_SECONDS)
    return following


def part(state: State) -> State:
    return {"parts": [witness.note(state["job"], state["step"])]}


def join(state: State) -> State:
    return {"step": witness.note(state["job"], len(state["parts"]))}


def wait_for_signal(state: State) -> State:
    interrupt("go")
    return {}


def chain_of(node: Callable[[State], State]) -> Any:
    graph = StateGraph(State)
    graph.add_node("note", node)
    graph.add_edge(START, "note")
    graph.add_conditional_edges("note", lambda state: "note" if state["step"] < state["size"] else END)
    return graph


def fan() -> Any:
    graph = StateGraph(State)
    graph.add_node("part", part)
    graph.add_node("join", join)
    graph.add_conditional_edges(
        START,
        lambda state: [Send("part", {"job": state["job"], "step": n}) for n in range(state["size"])],
        ["part"],
    )
    graph.add_edge("part", "join")
    graph.add_edge("join", END)
    return graph


def waiting() -> Any:
    graph = StateGraph(State)
    graph.add_sequence([("before", note), ("wait", wait_for_signal), ("after", note)])
    graph.add_edge(START, "before")
    graph.add_edge("after", END)
    return graph


@cache
def saver() -> PostgresSaver:
    pool = ConnectionPool(
        variable("DATABASE_URL"),
        min_size=CONCURRENCY,
        max_size=CONCURRENCY,
        kwargs={"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row},
    )
    return PostgresSaver(pool)


@cache
def compiled(shape: str) -> Any:
    made = {"fan": fan, "signal": waiting, "slow": lambda: chain_of(slow)}.get(
        shape, lambda: chain_of(note)
    )()
    return made.compile(checkpointer=saver())


def setup() -> None:
    saver().setup()


def perform(order: Order, resumed: bool) -> int | None:
    given = Command(resume="go") if resumed else {"job": order.name, "size": order.size, "step": 0}
    config = {"configurable": {"thread_id": order.name}, "recursion_limit": order.size + 10}
    state = compiled(order.shape).invoke(given, config, durability="sync")
    return None if "__interrupt__" in state else int(state["step"])


def serve(number: int, ready: Callable[[], None]) -> None:
    saver()  # one pool, before the threads would each make theirs
    handover.serve(perform, ready)
