"""A fork from the command line: its plan, and with `--yes` the new job. Of `fork` and of `replay --fork-from`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from rich.console import Group, RenderableType

from runtime import forks
from runtime.management.base import operator
from runtime.management.shapes import payload, printable, table
from runtime.models import Job

LONGEST = 100


def answer(job: Job, step: str, *, yes: bool, why: str = "", **changes: Any) -> dict[str, Any]:
    """The plan as JSON, and the id of the fork if there is one."""
    planned = forks.plan(job, step)
    made = str(forks.fork(job, step, by=operator(), why=why, **changes).pk) if yes else None
    return {"job": str(job.pk), **asdict(planned), "fork": made}


def text(answer: Mapping[str, Any]) -> RenderableType:
    parts: list[RenderableType] = [
        f"A fork of job {answer['job']} from step {printable(answer['step'])}",
        f"  takes over: {printable(', '.join(answer['copied']) or 'nothing')}",
        f"  runs:       {printable(', '.join(answer['again']))}",
    ]
    if answer["effects"]:
        rows = [
            (effect["step"], effect["tool"], effect["state"], payload(effect["arguments"], LONGEST))
            for effect in answer["effects"]
        ]
        parts += [
            "  These effects of the original may happen again:",
            table(("step", "tool", "state", "arguments"), rows),
        ]
    made = answer["fork"]
    parts.append(f"Forked as job {made}." if made else "Nothing was done: add --yes to fork.")
    return Group(*parts)
