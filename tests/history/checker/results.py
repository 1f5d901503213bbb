"""Results in rows, held against the payloads of the events that recorded them. Rows have their digests only."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

from tests.history.checker import digests
from tests.history.checker.history import Event, Job
from tests.history.checker.violation import Violation

OF_A_CALL = ("tool.result", "output")


def violations(job: Job) -> Iterator[Violation]:
    recorded: dict[str, str | None] = {}
    of_calls: dict[tuple[str, str, int], str | None] = {}
    of_the_job = None
    for event in job.events:
        found = [_digest(part["value"]) for part in event.row["parts"] if part["name"] in OF_A_CALL]
        if event.type == "step_completed" and event.step and found:
            recorded[event.step] = found[0]
        elif event.call and found:
            of_calls[event.call] = found[0]
        elif event.type == "job_completed":
            of_the_job = (found, event)
    for key, digest in recorded.items():
        if key in job.steps and job.steps[key]["result"] != digest:
            yield job.broken("row_result", f"the result of {key} is not the one that was recorded")
    for call, digest in of_calls.items():
        if call in job.entries and job.entries[call]["result"] != digest:
            yield job.broken(
                "row_result", f"the result of call {call[1]} of {call[0]} is not the recorded one"
            )
    if of_the_job is not None:
        yield from _of_the_job(job, *of_the_job, recorded)


def _of_the_job(
    job: Job, found: list[str | None], event: Event, recorded: dict[str, str | None]
) -> Iterator[Violation]:
    """What it ended with: a value of its own, or the result of the step that its event names."""
    if not found and event.data.get("result_of") not in recorded:
        return
    digest = found[0] if found else recorded[event.data["result_of"]]
    if job.row["result"] != digest:
        yield job.broken("row_result", "the job's result is not the one that was recorded", event)


def _digest(value: Any) -> str | None:
    return None if value is None else hashlib.sha256(digests.canonical(value).encode()).hexdigest()
