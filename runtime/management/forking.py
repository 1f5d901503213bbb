"""A fork from the command line: its plan, and with `--yes` the new job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from rich.console import Group, RenderableType

from runtime import forks
from runtime.management.base import operator
from runtime.management.shapes import job_as_json, payload, table
from runtime.models import Job


def answer(job: Job, step: str, *, act: bool, why: str = "", **changes: Any) -> dict[str, Any]:
    """The plan as JSON; with `act` also the job that was begun."""
    planned = {"origin": str(job.pk), "plan": asdict(forks.plan(job, step)), "job": None}
    if not act:
        return planned
    return planned | {"job": job_as_json(forks.fork(job, step, by=operator(), why=why, **changes))}


def text(answer: Mapping[str, Any]) -> RenderableType:
    plan, begun = answer["plan"], answer["job"]
    if begun:
        return f"Job {begun['id']} goes on from {plan['step']} of job {answer['origin']}."
    effects = [
        (one["step"], one["tool"], one["state"], payload(one["arguments"], 100)) for one in plan["effects"]
    ]
    return Group(
        f"A fork of job {answer['origin']} from {plan['step']} takes over: {', '.join(plan['copied']) or 'nothing'}",
        f"and runs: {', '.join(plan['again'])}",
        table(("may happen a second time", "tool", "was", "with"), effects)
        if effects
        else "No effect outside happens a second time.",
        "Nothing was begun: --yes begins it.",
    )
