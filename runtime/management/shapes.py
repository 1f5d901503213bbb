"""Rows as the commands show them: as JSON, and as text in which nothing hostile reaches the terminal."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from runtime.models import Job, LedgerEntry, Step

COLOURS = {
    "completed": "green", "running": "cyan", "ready": "cyan", "waiting": "yellow", "failed": "red", "cancelled": "red",
    "silent": "red", "alive": "green", "draining": "yellow", "skipped": "dim", "blocked": "dim", "pending": "dim",
}  # fmt: skip


def job_as_json(job: Job) -> dict[str, Any]:
    """What a list shows of a job: no payloads."""
    return {
        "id": str(job.pk), "agent": job.agent, "agent_version": job.agent_version, "status": str(job.status),
        "created_at": moment(job.created_at), "started_at": moment(job.started_at),
        "finished_at": moment(job.finished_at), "paused": job.paused_at is not None,
        "cancel_requested": job.cancel_requested_at is not None, "compensate": job.compensate,
        "compensating_at": moment(job.compensating_at), "seq": job.seq,
        "submitted_by": job.submitted_by, "idempotency_key": job.idempotency_key, "queue": job.queue,
    }  # fmt: skip


def job_in_full(job: Job) -> dict[str, Any]:
    """A job with its input, its result and its steps."""
    steps = [step_as_json(step) for step in job.steps.order_by("id").defer("config", "result", "causes")]
    return job_as_json(job) | {"input": job.input, "result": job.result, "error": job.error, "steps": steps}


def step_as_json(step: Step) -> dict[str, Any]:
    return {
        "key": step.key, "kind": step.kind, "status": str(step.status), "attempt": step.attempt,
        "failures": step.failures, "waiting_for": step.waiting_for, "error": step.error,
    }  # fmt: skip


def entry_as_json(entry: LedgerEntry) -> dict[str, Any]:
    return {
        "entry": entry.pk, "job": str(entry.job_id), "step": entry.step.key, "call": entry.call,
        "generation": entry.generation, "tool": entry.name, "state": str(entry.state), "arguments": entry.arguments,
        "result": entry.result, "error": entry.error, "idempotency_key": str(entry.idempotency_key),
        "started_at": moment(entry.started_at), "calls": entry.calls, "attempt": entry.attempt,
    }  # fmt: skip


def moment(at: datetime | None) -> str | None:
    return at.isoformat() if at is not None else None


def table(headings: Iterable[str], rows: Iterable[Iterable[Any]]) -> Table:
    """A table of values, one line each."""
    made = Table(*headings, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        made.add_row(*(cell(value) for value in row))
    return made


def cell(value: Any) -> Text:
    text = printable("" if value is None else str(value))
    return Text(text, style=COLOURS.get(text, ""), overflow="fold")


def payload(value: Any, longest: int | None = None) -> str:
    """A JSON value on one line."""
    text = printable(json.dumps(value, ensure_ascii=False))
    return text if longest is None or len(text) <= longest else f"{text[:longest]}… ({len(text)} characters)"


def printable(text: str) -> str:
    """Whatever could steer a terminal or turn the direction of writing, as its code."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text)


def short_time(at: str | None) -> str:
    """A moment to the second, in UTC."""
    return at[:19].replace("T", " ") if at else ""


def duration(seconds: float | None) -> str:
    if seconds is None:
        return ""
    if seconds < 100:
        return f"{seconds:.1f} s"
    return str(timedelta(seconds=round(seconds)))
