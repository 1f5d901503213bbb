"""Workflows on a queue, two processes with executor ids of their own. The queue is polled every 20 ms instead of
every second, and so is a result that is waited for: the defaults would hide what a step costs. One application
version, so that either process takes over; without the vendor's Conductor a dead process's workflows go on when a
process of the same executor id starts, which is what the harness does at once. Steps side by side are coroutines of
one workflow: a workflow for each of them costs three times as much."""

import asyncio
import time
from collections.abc import Callable
from functools import cache
from typing import Any

from dbos import DBOS, DBOSClient
from dbos import WorkflowHandle as Handle

from benchmarks import witness
from benchmarks.orders import CONCURRENCY, SLOW_SECONDS, Order, variable

POLL_SECONDS = 0.02

QUEUE = "bench"


@DBOS.step()
def note(job: str, step: int) -> int:
    return witness.note(job, step)


@DBOS.step()
def slow_note(job: str, step: int) -> int:
    following = witness.note(job, step)
    time.sleep(SLOW_SECONDS)
    return following


@DBOS.workflow()
def chain(job: str, size: int) -> int:
    step = 0
    for _ in range(size):
        step = note(job, step)
    return step


@DBOS.workflow()
def slow(job: str, size: int) -> int:
    step = 0
    for _ in range(size):
        step = slow_note(job, step)
    return step


@DBOS.step()
async def note_side_by_side(job: str, step: int) -> int:
    return witness.note(job, step)


@DBOS.workflow()
async def fan(job: str, size: int) -> int:
    await asyncio.gather(*(note_side_by_side(job, number) for number in range(size)))
    return await note_side_by_side(job, size)


@DBOS.workflow()
def signal_(job: str, size: int) -> int:
    step = note(job, 0)
    DBOS.recv("go", timeout_seconds=60)
    return note(job, step)


WORKFLOWS = {"chain": "chain", "tools": "chain", "slow": "slow", "fan": "fan", "signal": "signal_"}


def launch(executor: str) -> None:
    DBOS(
        config={
            "name": "bench",
            "system_database_url": variable("DATABASE_URL"),
            "executor_id": executor,
            "application_version": "1",
            "log_level": "WARNING",
        }
    )
    DBOS.launch()
    DBOS.register_queue(QUEUE, worker_concurrency=CONCURRENCY, polling_interval_sec=POLL_SECONDS)


def setup() -> None:
    launch("setup")
    DBOS.destroy()


def serve(number: int, ready: Callable[[], None]) -> None:
    launch(f"worker-{number}")
    ready()


@cache
def client() -> DBOSClient:
    return DBOSClient(system_database_url=variable("DATABASE_URL"))


def submit(orders: list[Order]) -> list["Handle[int]"]:
    return [
        client().enqueue(
            {"queue_name": QUEUE, "workflow_name": WORKFLOWS[order.shape], "app_version": "1"},
            order.name,
            order.size,
        )
        for order in orders
    ]


def wait(handles: list["Handle[int]"]) -> list[Any]:
    return [handle.get_result(polling_interval_sec=POLL_SECONDS) for handle in handles]


def signal(handle: "Handle[int]") -> None:
    client().send(handle.workflow_id, "go", "go")
