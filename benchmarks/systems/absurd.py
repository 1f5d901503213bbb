"""Two clients a process with a connection and eight tasks each, because a client sends everything over one
connection; polled every 20 ms instead of 250, since nothing wakes a worker. A claim lasts 120 s, as by default: so
long does a dead worker keep its tasks. Steps side by side are tasks of a second queue, polled every 50 ms: a task has
no steps side by side, and one that waits for its children keeps its place."""

import threading
import time
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import psycopg
from absurd_sdk import Absurd
from absurdctl import BUNDLED_SCHEMA_SQL

from benchmarks import witness
from benchmarks.orders import CONCURRENCY, SLOW_SECONDS, Order, variable

POLL_SECONDS = 0.02
CLIENTS = {"bench": (2, CONCURRENCY // 2, POLL_SECONDS), "parts": (1, CONCURRENCY, 0.05)}
"""Clients for each process, tasks of each, and how often they ask."""

FINISHED = "SELECT completed_payload FROM absurd.t_bench WHERE task_id = %s AND state = 'completed'"


def chain(params: Any, context: Any, pause: float = 0) -> int:
    step = 0
    for number in range(params["size"]):
        step = context.step(f"s{number}", partial(witness.note, params["name"], step))
        time.sleep(pause)
    return step


def fan(params: Any, context: Any) -> int:
    name, size = params["name"], params["size"]
    children = context.step("spawn", lambda: [spawn("part", {"name": name, "step": n}) for n in range(size)])
    for child in children:
        context.await_task_result(child, queue_name="parts")
    return context.step("join", partial(witness.note, name, size))


def part(params: Any, context: Any) -> int:
    return context.step("note", partial(witness.note, params["name"], params["step"]))


def signal_(params: Any, context: Any) -> int:
    step = context.step("before", partial(witness.note, params["name"], 0))
    context.await_event(f"go:{params['name']}")
    return context.step("after", partial(witness.note, params["name"], step))


TASKS_OF = {
    "bench": {
        "chain": chain,
        "tools": chain,
        "slow": partial(chain, pause=SLOW_SECONDS),
        "fan": fan,
        "signal": signal_,
    },
    "parts": {"part": part},
}


def client(queue: str) -> Absurd:
    made = Absurd(variable("DATABASE_URL"), queue_name=queue)
    for name, function in TASKS_OF[queue].items():
        made.register_task(name)(function)
    return made


@cache
def submitting(queue: str) -> Absurd:
    return client(queue)


def spawn(name: str, params: dict[str, Any]) -> str:
    """Children are spawned one after another, as a loop in a task would."""
    return str(submitting("parts").spawn(name, params)["task_id"])


def setup() -> None:
    with psycopg.connect(variable("DATABASE_URL"), autocommit=True) as connection:
        connection.execute(BUNDLED_SCHEMA_SQL)
    for queue in TASKS_OF:
        client(queue).create_queue()


def serve(number: int, ready: Callable[[], None]) -> None:
    for queue, (clients, tasks, poll) in CLIENTS.items():
        for each in range(clients):
            name = f"worker-{number}-{queue}-{each}"
            work = partial(client(queue).start_worker, name, concurrency=tasks, poll_interval=poll)
            threading.Thread(target=work).start()
    ready()


def submit(orders: list[Order]) -> list[tuple[str, str]]:
    app = submitting("bench")
    return [
        (str(app.spawn(order.shape, {"name": order.name, "size": order.size})["task_id"]), order.name)
        for order in orders
    ]


def wait(handles: list[tuple[str, str]]) -> list[int]:
    """Its own wait begins with pauses of 50 ms; this asks more often."""
    results = []
    with psycopg.connect(variable("DATABASE_URL"), autocommit=True) as connection:
        for task, _ in handles:
            while (row := connection.execute(FINISHED, [task]).fetchone()) is None:
                time.sleep(POLL_SECONDS / 4)
            results.append(row[0])
    return results


def signal(handle: tuple[str, str]) -> None:
    submitting("bench").emit_event(f"go:{handle[1]}", "go")
