"""What the tests of scopes, plans and subjobs share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.test import override_settings

from runtime import ports
from runtime.exceptions import Permanent
from runtime.execution import run_step
from runtime.graph import Graph
from runtime.incarnation import Incarnation
from runtime.models import Job, Scope, Step
from runtime.ports import CrashPoint
from tests.agents_app.world import world
from tests.engine.driving import step_of


def body(function: str = "say", **inputs: Any) -> Graph:
    """A sub-graph of one step."""
    graph = Graph()
    graph.function("it", function, **(inputs or {"value": "${item}"}))
    return graph


def mapping(inner: Graph | None = None, /, **keys: Any) -> Graph:
    """A graph that maps its input."""
    graph = Graph()
    graph.map("each", "${input}", inner or body(), **keys)
    return graph


def failing_for(*bad: Any) -> Graph:
    """A body that fails for some items, until `mend()`."""
    world.doings["is bad"] = bad.__contains__

    def function(context: Any, value: Any) -> Any:
        if world.doings["is bad"](value):
            raise Permanent(f"{value} is bad")
        return value

    world.doings["fail for"] = function
    return body("do", what="fail for", value="${item}")


def mend() -> None:
    """From now on nothing is bad."""
    world.doings["is bad"] = lambda value: False


def scopes(job: Job) -> list[str]:
    """What became of each copy, in item order."""
    return list(Scope.objects.filter(job=job).order_by("index").values_list("status", flat=True))


def run_alone(job: Job, worker: Incarnation, key: str) -> Step:
    """Run one step, without going on to what is ready after it."""
    with override_settings(AETHERIS={**settings.AETHERIS, "KEEP_JOB_SECONDS": 0}):
        run_step(step_of(job, key).pk, worker)
    job.refresh_from_db()
    return step_of(job, key)


def most_at_once(job: Job, worker: Incarnation) -> int:
    """Run the job in any order; the largest number of copies that were under way at a time."""
    most = 0
    while ready := Step.objects.filter(job=job).ready().order_by("?").first():
        most = max(most, Scope.objects.filter(job=job, status="running").count())
        run_alone(job, worker, ready.key)
    job.refresh_from_db()
    return most


def during(point: CrashPoint, act: Callable[[], Any]) -> None:
    """Do something once, when a worker next comes by this point."""

    def hook(here: CrashPoint) -> None:
        if here is point:
            ports.crash_hook = ports._pass
            act()

    ports.crash_hook = hook
