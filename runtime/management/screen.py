"""The figures of a deployment as one screen of text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from runtime.management.shapes import duration, short_time, table
from runtime.states import JobStatus

STEPS = ("blocked", "ready", "running", "waiting")


def screen(figures: Mapping[str, Any]) -> RenderableType:
    """Laid out from what `Figures.as_json` says."""
    return Group(
        Text(f"Aetheris at {short_time(figures['at'])} UTC", style="bold"),
        "",
        table(
            ("", *JobStatus.values),
            [("jobs", *(figures["jobs"].get(status, 0) for status in JobStatus.values))],
        ),
        Text("ended jobs: those submitted in the last 24 hours", style="dim"),
        "",
        table(("", *STEPS), [("steps", *(figures["steps"][status] for status in STEPS))]),
        "",
        table(("", ""), _facts(figures)),
        "",
        _workers(figures["workers"]),
        *_resting(figures["holds"]),
        *_limits(figures["limits"] or []),
    )


def _facts(figures: Mapping[str, Any]) -> list[tuple[str, Any]]:
    away = f"Redis cannot be asked: {figures['redis_error']}. Jobs go on, by the sweeper."
    queues = figures["queues"]
    depths = ", ".join(f"{name} {depth}" for name, depth in queues.items()) if queues is not None else away
    waits = ", ".join(f"{count} {kind}" for kind, count in sorted(figures["waits"].items())) or "none"
    jobs = f"{figures['jobs_submitted_per_minute']} jobs submitted, {figures['jobs_ended_per_minute']} ended"
    return [
        ("in a minute", f"{jobs}; {figures['steps_ended_per_minute']} steps ended"),
        ("oldest ready step", duration(figures["ready_for_seconds"]) or "none"),
        ("waits", f"{waits}; {figures['waits_due']} due"),
        ("calls in doubt", _alarm(figures["in_doubt"], "`manage.py resolve` settles them")),
        ("stranded jobs", _alarm(figures["stranded"], "`manage.py doctor` names them")),
        ("steps that nobody serves", _nobody(figures["unserved"])),
        ("queues", depths),
        ("leases", "unknown" if figures["leases"] is None else figures["leases"]),
    ]


def _nobody(groups: list[dict[str, Any]]) -> str:
    return "; ".join(f"{one['steps']} in {told_queue(one)}: start a worker for it" for one in groups) or "0"


def told_queue(one: Mapping[str, Any]) -> str:
    """A queue, and what its steps require."""
    required = ", ".join(one["requires"])
    return f"{one['queue']} that require {required}" if required else str(one["queue"])


def _resting(holds: list[dict[str, Any]]) -> list[RenderableType]:
    if not holds:
        return []
    rows = [
        (
            f"{one['kind']} {one['name']}",
            one["tenant"],
            duration(one["seconds"]),
            one["steps"],
            one["by"],
            one["why"],
        )
        for one in holds
    ]
    return ["", table(("rests", "tenant", "for", "steps kept", "by", "why"), rows)]


def _limits(limits: list[dict[str, Any]]) -> list[RenderableType]:
    if not limits:
        return []
    names = ("name", "rate", "begun", "concurrency", "calling", "waiting")
    rows = [
        tuple(each[name] or 0 if name not in ("name", "rate") else each[name] for name in names)
        for each in limits
    ]
    return ["", table(("limit of", "rate", "begun", "at once", "calling", "waiting"), rows)]


def _alarm(count: int, remedy: str) -> str:
    return f"{count}: {remedy}" if count else "0"


def _workers(workers: list[dict[str, Any]]) -> RenderableType:
    if not workers:
        return Text("No worker is alive: nothing runs. `make stack` starts some.", style="red")
    rows = [
        (
            each["name"],
            each["role"],
            each["pid"],
            each["state"],
            f"{each['heartbeat_seconds']:.1f} s ago",
            each["holding"],
        )
        for each in workers
    ]
    return table(("worker", "role", "pid", "", "heartbeat", "steps"), rows)
