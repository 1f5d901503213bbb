"""`doctor`: every invariant as a question to the database. An empty answer is a clean bill."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cache
from uuid import UUID

from django.db import connection, transaction

from runtime import snapshots
from runtime.models import Job
from runtime.sql import HERE

QUESTION = re.compile(r"-- question: (?P<code>\w+)\n(?P<prose>(?:-- .*\n)+)(?P<sql>[\s\S]*?);\n")


@dataclass(frozen=True)
class Question:
    code: str
    invariant: str
    remedy: str
    sql: str


@dataclass(frozen=True)
class Finding:
    """One broken invariant: what, where, and what to do."""

    code: str
    job_id: UUID
    message: str
    remedy: str


@cache
def questions() -> tuple[Question, ...]:
    found = []
    for match in QUESTION.finditer((HERE / "doctor.sql").read_text()):
        prose = [line.removeprefix("-- ") for line in match["prose"].splitlines()]
        remedy = " ".join(line.removeprefix("remedy: ") for line in prose if line.startswith("remedy: "))
        invariant = " ".join(line for line in prose if not line.startswith("remedy: "))
        found.append(Question(match["code"], invariant, remedy, match["sql"]))
    return tuple(found)


def examine(
    job_ids: Collection[UUID] | None = None, *, deep: bool | None = None, newest: int | None = None
) -> list[Finding]:
    """Ask every question, of some jobs or of all.

    `deep` also folds each job's events and compares the outcome with its rows; that reads every event, so by
    default it is done where jobs are named. With `newest` only so many jobs are folded, those that began last.
    """
    jobs = list(job_ids) if job_ids is not None else None
    findings = []
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL statement_timeout = 0")  # a large history takes its time
        for question in questions():
            cursor.execute(question.sql, {"jobs": jobs})
            findings += [
                Finding(question.code, job, text, question.remedy) for job, text in cursor.fetchall()
            ]
    if deep if deep is not None else jobs is not None:
        findings += _compare_with_fold(jobs, newest)
    return findings


def _compare_with_fold(job_ids: Collection[UUID] | None, newest: int | None) -> Iterator[Finding]:
    jobs = Job.objects.all() if job_ids is None else Job.objects.filter(pk__in=job_ids)
    remedy = "Rows were changed outside the gate. Keep the database as it is and report this."
    for job in jobs.defer("input", "result").order_by("-pk")[:newest].iterator():
        for message in differences(job):
            yield Finding("fold", job.pk, message, remedy)


def differences(job: Job) -> list[str]:
    """Where a job's rows are not the fold of its events. Meant for a job at rest: it reads in several statements."""
    state, wrong = snapshots.afresh(job, job.seq)
    found = [f"the snapshot after event {seq} is not what the events say: delete it" for seq in wrong]
    if job.status != state.status:
        found.append(f"job is {job.status}, its events say {state.status}")
    rows = job.steps.values_list("key", "status", "attempt", "failures", "waiting_for")
    for key, *row in rows:
        step = state.steps[key]
        told = [str(step.status), step.attempt, step.failures, step.waiting_for]
        if row != told:
            found.append(f"step {key} is {row}, its events say {told}")
    entries = {
        f"{key}.{call}#{generation}": value
        for key, call, generation, value in job.ledger.values_list("step__key", "call", "generation", "state")
    }
    if entries != state.ledger:
        found.append(f"the ledger is {entries}, its events say {state.ledger}")
    return found


def repair(*, dry_run: bool = True) -> list[str]:
    """Restore lost reasons to move: what a sweep would do now, at once. Says what it did, or would do."""
    from runtime import dispatch, hinting, recovery  # the sweep runs steps; asking does not

    ready = hinting.unclaimed(hinting.groups()).wanted
    if dry_run:
        return [f"step {step_id} of queue {queue} would be sent again" for step_id, queue in ready]
    done = [
        f"{recovery.rescue_lost()} steps rescued",
        f"{recovery.end_overdue()} overdue steps ended",
        f"{recovery.end_overdue_jobs()} overdue jobs ended",
        f"{recovery.wake_due()} due waits woken",
    ]
    sent = dispatch.hint(dispatch.reached(ready)) if ready else True
    return [
        *done,
        f"{len(ready)} ready steps sent again" if sent else "no hint could be sent: the broker is away",
    ]
