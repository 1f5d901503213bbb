"""`doctor`: every invariant as a question to the database. An empty answer is a clean bill."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cache
from uuid import UUID

from django.db import connection, transaction

from runtime import snapshots
from runtime.fold import JobState
from runtime.models import Job
from runtime.sql import HERE

QUESTION = re.compile(r"-- question: (?P<code>\w+)\n(?P<prose>(?:-- .*\n)+)(?P<sql>[\s\S]*?);\n")

MARKS = ("remedy: ", "repair: ")
CHANGED = "Rows were changed outside the gate. Keep the database as it is and report this."
SNAPSHOT = "A copy was changed; what it is a copy of still holds."
FORGET = "the snapshots of the job are deleted"


@dataclass(frozen=True)
class Question:
    code: str
    invariant: str
    remedy: str
    repair: str
    """What `runtime.repairs` does about it; empty where that is for a person."""
    sql: str


@dataclass(frozen=True)
class Finding:
    """One broken invariant: what, where, and what to do."""

    code: str
    job_id: UUID
    message: str
    remedy: str
    repair: str = ""


@cache
def questions() -> tuple[Question, ...]:
    found = []
    for match in QUESTION.finditer((HERE / "doctor.sql").read_text()):
        prose = [line.removeprefix("-- ") for line in match["prose"].splitlines()]
        said = {mark: _said(prose, mark) for mark in MARKS}
        invariant = " ".join(line for line in prose if not line.startswith(MARKS))
        found.append(Question(match["code"], invariant, said["remedy: "], said["repair: "], match["sql"]))
    return tuple(found)


def _said(prose: list[str], mark: str) -> str:
    return " ".join(line.removeprefix(mark) for line in prose if line.startswith(mark))


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
                Finding(question.code, job, text, question.remedy, question.repair)
                for job, text in cursor.fetchall()
            ]
    if deep if deep is not None else jobs is not None:
        findings += _compare_with_fold(jobs, newest)
    return findings


def _compare_with_fold(job_ids: Collection[UUID] | None, newest: int | None) -> Iterator[Finding]:
    jobs = Job.objects.all() if job_ids is None else Job.objects.filter(pk__in=job_ids)
    for job in jobs.defer("input", "result").order_by("-pk")[:newest].iterator():
        state, wrong = snapshots.afresh(job, job.seq)
        for seq in wrong:
            text = f"the snapshot after event {seq} is not what the events say"
            yield Finding("snapshot", job.pk, text, SNAPSHOT, FORGET)
        for message in differences(job, state):
            yield Finding("fold", job.pk, message, CHANGED)


def differences(job: Job, state: JobState | None = None) -> list[str]:
    """Where a job's rows are not the fold of its events. Meant for a job at rest: it reads in several statements."""
    if state is None:
        state, _ = snapshots.afresh(job, job.seq)
    found = []
    if job.status != state.status:
        found.append(f"job is {job.status}, its events say {state.status}")
    rows = job.steps.values_list("key", "status", "attempt", "failures", "waiting_for")
    found += [f"step {key} is in no event" for key, *_ in rows if key not in state.steps]
    found += [
        f"step {key} of the events has no row" for key in state.steps.keys() - {key for key, *_ in rows}
    ]
    for key, *row in rows:
        step = state.steps.get(key)
        if step is None:
            continue
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
