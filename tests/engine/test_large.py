"""Large graphs: every step runs once, and the last one costs what the first one did."""

import os
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from runtime import ports, recovery
from runtime.execution import run_step
from runtime.graph import Graph
from runtime.models import Event, Job, Step, Wait
from runtime.ports import CrashPoint
from runtime.resolution import resolve
from runtime.snapshots import state_at
from tests.agents_app.world import world
from tests.engine.driving import crash_at, submit
from tests.engine.driving import drive as drive_with
from tests.engine.scoped import mapping, run_alone


def wire(nodes: list[str], edges: list[tuple[str, str]]) -> dict[str, Any]:
    """A graph of steps that answer nothing: as JSON, which is made sooner than by the builder."""
    return {
        "nodes": [{"id": key, "kind": "function", "function": "say"} for key in nodes],
        "edges": [{"from": parent, "to": child} for parent, child in edges],
    }


def chain(length: int) -> dict[str, Any]:
    keys = [f"s{number}" for number in range(length)]
    return wire(keys, list(zip(keys, keys[1:], strict=False)))


def fan(width: int) -> dict[str, Any]:
    middle = [f"m{number}" for number in range(width)]
    edges = [("first", key) for key in middle] + [(key, "last") for key in middle]
    return wire(["first", *middle, "last"], edges)


def run_through(job: Job, worker: Any) -> None:
    """Run the job to its end."""
    while ready := Step.objects.filter(job=job).ready().values_list("pk", flat=True).first():
        run_step(ready, worker)
    job.refresh_from_db()


def each_step_ran_once(job: Job) -> bool:
    claimed = Event.objects.filter(job=job, type="step_claimed").count()
    completed = Event.objects.filter(job=job, type="step_completed").count()
    return (job.status, claimed, completed) == ("completed", job.steps.count(), job.steps.count())


def cpu_seconds() -> float:
    """Of this process, and of the process of PostgreSQL that serves it: other load does not count."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (pid,) = cursor.fetchone()
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return time.process_time() + (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads the CPU time of a process")
def test_a_chain_of_10_000_steps_runs_and_its_last_thousand_cost_what_the_first_did(worker, capsys):
    run_through(submit(chain(500)), worker)  # plans and pages are warm
    job = submit(chain(10_000))
    seen, steps = [cpu_seconds()], 0

    def count(point: CrashPoint) -> None:
        nonlocal steps
        steps += point is CrashPoint.AFTER_RECORD
        if point is CrashPoint.AFTER_RECORD and steps % 1000 == 0:
            seen.append(cpu_seconds())

    ports.crash_hook = count
    run_through(job, worker)
    costs = [after - before for before, after in pairwise(seen)]
    with capsys.disabled():
        print("\nms of CPU for each step, by thousands:", *(f"{cost:.2f}" for cost in costs))
    assert each_step_ran_once(job)
    assert len(costs) == 10
    assert min(costs[-3:]) < 2 * min(costs[:3]), (
        "whoever looks at all steps before it costs ten times as much"
    )
    assert state_at(job).status == "completed"


def test_a_fan_of_2_000_joins_once(worker):
    job = submit(fan(2000))
    run_through(job, worker)
    assert each_step_ran_once(job)
    last = Step.objects.get(job=job, key="last")
    assert (last.taken_parents, last.pending_parents, len(last.causes)) == (2000, 0, 32)


@pytest.mark.slow
def test_a_fan_of_10_000_joins_once(worker):
    job = submit(fan(10_000))
    run_through(job, worker)
    assert each_step_ran_once(job)


@pytest.mark.slow
@pytest.mark.parametrize("keys", [{}, {"max_parallel": 10}], ids=["all at once", "ten at once"])
def test_a_map_over_10_000_items_answers_them_in_order(keys, worker):
    job = submit(mapping(**keys), list(range(10_000)))
    run_through(job, worker)
    assert (job.status, job.result) == ("completed", list(range(10_000)))


# A kill in the middle


def paying(items: int) -> Job:
    """A map that asks the model about each item and then pays for it, in item order."""
    inner = Graph()
    inner.llm("ask", "Is ${item} good?") >> inner.tool("pay", "charge", amount="${item}")
    return submit(mapping(inner, max_parallel=1), [float(number) for number in range(items)])


@pytest.fixture
def model(settings: Any) -> list[Any]:
    settings.AETHERIS = {**settings.AETHERIS, "MODEL_CLIENT": "tests.agents_app.world.complete"}
    return world.requests


def rescue_all(job: Job) -> None:
    for step in job.steps.filter(status="running"):
        step.rescue()


def test_of_1_000_items_847_are_done_when_the_worker_is_killed_and_nothing_is_done_twice(
    model, worker, other
):
    job = paying(1000)
    run_alone(job, worker, "each")
    with crash_at(CrashPoint.AFTER_RECORD, time=2 * 847):
        run_through(job, worker)
    done = set(job.steps.filter(status="completed").values_list("key", flat=True))
    assert (len(done), len(model), len(world.effects("charge"))) == (2 * 847, 847, 847)
    rescue_all(job)
    assert drive_with(job, other).status == "completed"
    assert job.result == [{"charged": float(number)} for number in range(1000)]
    assert (len(model), len(world.effects("charge"))) == (1000, 1000)
    again = Event.objects.filter(job=job, type="step_claimed", attempt__gt=1).values_list("step", flat=True)
    assert not done & set(again)


def test_a_kill_during_the_payment_of_one_item_leaves_that_one_to_a_person(model, worker, other):
    job = paying(20)
    run_alone(job, worker, "each")
    with crash_at(CrashPoint.AFTER_CALL, time=2 * 8):
        run_through(job, worker)
    rescue_all(job)
    assert drive_with(job, other).status == "waiting"
    doubt = job.ledger.get(state="unknown")
    assert doubt.step.key == "each[7].pay"
    resolve(doubt, "happened", by="ops", why="it is in the books", result={"charged": 7.0})
    assert drive_with(job, other).status == "completed"
    assert (len(model), len(world.effects("charge"))) == (20, 20)


@pytest.mark.slow
def test_10_000_timers_that_are_due_at_once_all_fire_once(worker, clock):
    inner = Graph()
    inner.timer("t", "1h")
    job = submit(mapping(inner), list(range(10_000)))
    run_through(job, worker)
    assert Wait.objects.open().filter(kind="timer").count() == 10_000
    clock.forward(hours=2)
    while recovery.wake_due():
        pass
    assert not Wait.objects.open().filter(kind="timer").exists()
    assert job.events.filter(type="timer_fired").count() == 10_000
