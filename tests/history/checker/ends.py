"""What the rows say at the end, held against the events, and against the rest that the run claims."""

from collections.abc import Iterator

from tests.history.checker.history import Job, Run
from tests.history.checker.progress import IDLE, Progress
from tests.history.checker.violation import Violation

FINISHED = ("completed", "failed", "cancelled")


def violations(job: Job, run: Run, progress: Progress) -> Iterator[Violation]:
    if (job.row["status"] if job.row["status"] in FINISHED else None) != progress.ended:
        yield job.broken("row_job", f"the job is {job.row['status']}, its events say {progress.ended}")
    for key, now in progress.steps.items():
        row = job.steps[key]
        state = IDLE if row["status"] in ("blocked", "ready") else row["status"]
        if (state, row["attempt"]) != (now.state, now.attempt):
            told = f"{now.state} in {now.attempt}"
            yield job.broken(
                "row_step", f"{key} is {row['status']} in {row['attempt']}, its events say {told}"
            )
    yield from _waits_are_named(job)
    if run.at_rest and not progress.ended:
        yield from _rests(job)


def _waits_are_named(job: Job) -> Iterator[Violation]:
    for key, row in job.steps.items():
        waits = [
            f"{wait['kind']}:{wait['name']}"
            for wait in job.waits
            if wait["step"] == key and wait["closed_at"] is None
        ]
        if waits != ([row["waiting_for"]] if row["status"] == "waiting" else []):
            sentence = f"{key} is {row['status']} for {row['waiting_for']!r} and has the open waits {waits}"
            yield job.broken("unnamed_wait", sentence)


def _rests(job: Job) -> Iterator[Violation]:
    statuses = {row["status"] for row in job.steps.values()}
    may_stay = job.row["paused_at"] is not None or (
        job.row["status"] == "waiting" and not statuses & {"ready", "running"}
    )
    if not may_stay:
        yield job.broken("unfinished", f"the job is {job.row['status']}, and nobody will move it")
