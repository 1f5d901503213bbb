"""Flows on a server of its own with PostgreSQL, called in threads that get jobs through Valkey: a deployment starts a
process for each run, which takes seconds. Results of tasks are not kept and logs stay where they are written: both
are quicker. A flow that is called goes down with its process, and its pause asks every ten seconds whether it may go
on. Jobs are divided by ten."""

import time
from collections.abc import Callable

from prefect import flow, task

from benchmarks import witness
from benchmarks.orders import SLOW_SECONDS, Order
from benchmarks.systems import handover
from benchmarks.systems.handover import submit, wait  # noqa: F401 - part of this system


@task
def note(job: str, step: int) -> int:
    return witness.note(job, step)


@task
def slow(job: str, step: int) -> int:
    following = witness.note(job, step)
    time.sleep(SLOW_SECONDS)
    return following


@flow
def chain(job: str, size: int) -> int:
    step = 0
    for _ in range(size):
        step = note(job, step)
    return step


@flow
def fan(job: str, size: int) -> int:
    for future in [note.submit(job, number) for number in range(size)]:
        future.result()
    return note(job, size)


def setup() -> None:
    """The server makes its tables when it starts."""


def perform(order: Order, resumed: bool) -> int:
    return (fan if order.shape == "fan" else chain)(order.name, order.size)


def serve(number: int, ready: Callable[[], None]) -> None:
    handover.serve(perform, ready)
