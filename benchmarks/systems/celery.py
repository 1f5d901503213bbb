"""Celery alone: chains and chords on the same Valkey, results kept there, threads as ours. Nothing is durable beyond
Valkey's file, there is no wait for a signal, and at its defaults a task that its worker took with it is lost."""

import socket
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from celery import Celery, chain, chord
from celery.signals import worker_ready

from benchmarks import witness
from benchmarks.orders import CONCURRENCY, SLOW_SECONDS, Order, variable

SERVER = f"redis+socket://{urlsplit(variable('REDIS_URL')).path}"

app = Celery("bench", broker=f"{SERVER}?virtual_host=1", backend=f"{SERVER}?virtual_host=1")
app.conf.update(
    worker_enable_remote_control=False,
    worker_prefetch_multiplier=1,
    worker_hijack_root_logger=False,
)


@app.task
def note(step: int, job: str) -> int:
    return witness.note(job, step)


@app.task
def slow(step: int, job: str) -> int:
    following = witness.note(job, step)
    time.sleep(SLOW_SECONDS)
    return following


@app.task
def join(parts: list[int], job: str) -> int:
    return witness.note(job, len(parts))


def setup() -> None:
    """Nothing to make."""


def serve(number: int, ready: Callable[[], None]) -> None:
    worker_ready.connect(lambda **signal: ready(), weak=False)
    app.Worker(
        hostname=f"worker-{number}@{socket.gethostname()}",
        pool="threads",
        concurrency=CONCURRENCY,
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
        loglevel="WARNING",
        quiet=True,
    ).start()


def submit(orders: list[Order]) -> list[Any]:
    return [plan(order).apply_async() for order in orders]


def plan(order: Order) -> Any:
    if order.shape == "fan":
        return chord((note.s(number, order.name) for number in range(order.size)), join.s(order.name))
    task = slow if order.shape == "slow" else note
    first, *others = (task.s(0, order.name), *(task.s(order.name) for _ in range(order.size - 1)))
    return chain(first, *others) if others else first


def wait(handles: list[Any]) -> list[int]:
    return [handle.get(timeout=600) for handle in handles]
