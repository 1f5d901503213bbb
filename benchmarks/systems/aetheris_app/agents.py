from functools import partial
from typing import Any

from benchmarks import witness
from benchmarks.orders import SIZES, SLOW_SECONDS
from runtime.agents import agent, step
from runtime.graph import Graph

NAME = "${input.name}"


@step
def bench_note(context: Any, job: str, step: int, **earlier: Any) -> int:
    return witness.note(job, step)


@step
def bench_slow(context: Any, job: str, step: int) -> int:
    following = witness.note(job, step)
    context.wait(SLOW_SECONDS)
    return following


def chain(size: int, kind: str, what: str) -> Graph:
    graph = Graph()
    add = graph.tool if kind == "tool" else graph.function
    last: Any = add("s0", what, job=NAME, step=0)
    for number in range(1, size):
        last = add(f"s{number}", what, job=NAME, step=last)
    graph.result(last)
    return graph


def fan(size: int) -> Graph:
    graph = Graph()
    parts = [graph.function(f"s{number}", "bench_note", job=NAME, step=number) for number in range(size)]
    join = graph.function("join", "bench_note", job=NAME, step=size)
    parts >> join
    graph.result(join)
    return graph


@agent("signal_2")
def signal() -> Graph:
    graph = Graph()
    before = graph.function("before", "bench_note", job=NAME, step=0)
    wait = graph.wait("wait", signal="go")
    after = graph.function("after", "bench_note", job=NAME, step=before)
    before >> wait >> after
    graph.result(after)
    return graph


for size in SIZES:
    agent(f"chain_{size}")(partial(chain, size, "function", "bench_note"))
    agent(f"slow_{size}")(partial(chain, size, "function", "bench_slow"))
    agent(f"tools_{size}")(partial(chain, size, "tool", "bench.note"))
    agent(f"fan_{size}")(partial(fan, size))
