"""One verb for many jobs. Each job takes it by itself; one that refuses does not keep the others from it.

The choice of jobs is frozen when the operation begins, and each job is asked in one transaction with the note
that it was, so an operation that was interrupted goes on exactly where it stopped, in whatever process.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import transaction

from runtime.clock import DatabaseNow, database_now
from runtime.exceptions import AetherisError, BulkNotFound, InputInvalid, JobNotFound
from runtime.graph import durations
from runtime.models import BulkOperation, Job, Wait
from runtime.models.bulk import BulkVerb
from runtime.models.job import JobQuerySet
from runtime.states import JobStatus
from runtime.values import check

PAGE = 200
SAMPLE = 10
MOST_IDS = 10_000

TAKES: Mapping[str, Callable[[JobQuerySet], JobQuerySet]] = {
    BulkVerb.CANCEL: lambda jobs: jobs.unfinished(),
    BulkVerb.PAUSE: lambda jobs: jobs.unfinished().filter(paused_at__isnull=True),
    BulkVerb.RESUME: lambda jobs: jobs.unfinished().filter(paused_at__isnull=False),
    BulkVerb.RETRY: lambda jobs: jobs.filter(status=JobStatus.FAILED),
    BulkVerb.ADOPT: lambda jobs: jobs.unfinished().filter(pk__in=Wait.objects.for_code().values("job")),
}
"""The jobs that can take a verb: a filter chooses among these. Jobs that are named are asked whatever they are."""

LOOKUPS = {
    "agent": "agent",
    "queue": "queue",
    "status": "status__in",
    "before": "created_at__lte",
    "ids": "pk__in",
}


@dataclass(frozen=True)
class Filter:
    """Which jobs. What is left out does not matter, but something must be said."""

    agent: str | None = None
    queue: str | None = None
    status: tuple[str, ...] = ()
    older_than: str | float | None = None
    """Submitted so long ago or longer: seconds, or a text such as `2h`."""
    ids: tuple[UUID, ...] | None = None
    tenant: str = "default"

    def frozen(self) -> dict[str, Any]:
        """As JSON, with moments in place of ages. Raises `InputInvalid`."""
        chosen = {
            "agent": self.agent or None,
            "queue": self.queue or None,
            "status": sorted(self.status) or None,
            "before": _moment(self.older_than),
            "ids": [str(job_id) for job_id in self.ids] if self.ids is not None else None,
        }
        kept = {name: value for name, value in chosen.items() if value is not None}
        if not kept:
            raise InputInvalid("filter", "say which jobs: by agent, queue, status, age or ids")
        if unknown := {*self.status} - {*JobStatus.values}:
            raise InputInvalid("status", f"{sorted(unknown)} is none of {', '.join(JobStatus.values)}")
        if self.ids is not None and len(self.ids) > MOST_IDS:
            raise InputInvalid("ids", f"{len(self.ids)} are more than {MOST_IDS} at once")
        last = Job.objects.order_by("-pk").values_list("pk", flat=True).first()
        return kept | {"upto": str(last or UUID(int=0))}


@dataclass(frozen=True)
class Preview:
    """What an operation would do: how many jobs it would ask, and the first of them."""

    verb: str
    count: int
    sample: list[Job]


def preview(verb: str, wanted: Filter) -> Preview:
    """Look before you act. Raises `InputInvalid`, and `JobNotFound` where one that is named does not exist."""
    jobs = _jobs(verb, wanted.tenant, _checked(wanted))
    return Preview(verb, jobs.count(), list(jobs.for_list()[:SAMPLE]))


def begin(verb: str, wanted: Filter, *, by: str = "", why: str = "") -> BulkOperation:
    """Freeze the choice. Nothing is done yet: `go_on` does it."""
    check(why, "why")
    chosen = _checked(wanted)
    total = _jobs(verb, wanted.tenant, chosen).count()
    operation = BulkOperation.objects.create(
        tenant=wanted.tenant, verb=verb, chosen=chosen, by=by, why=why, begun_at=DatabaseNow(), total=total
    )
    operation.refresh_from_db()
    return operation


def find(operation_id: UUID) -> BulkOperation:
    try:
        return BulkOperation.objects.get(pk=operation_id)
    except BulkOperation.DoesNotExist:
        raise BulkNotFound(operation_id) from None


def go_on(
    operation: BulkOperation, *, seconds: float | None = None, tell: Callable[[], None] = lambda: None
) -> BulkOperation:
    """Ask the jobs that were not asked yet, for so many seconds at most. `tell` is called after each."""
    end = time.monotonic() + (seconds if seconds is not None else float("inf"))
    while ids := list(_left(operation)[:PAGE]):
        for job_id in ids:
            _ask(operation, job_id)
            tell()
            if time.monotonic() > end:
                operation.refresh_from_db()
                return operation
        operation.refresh_from_db()
    BulkOperation.objects.filter(pk=operation.pk, finished_at__isnull=True).update(finished_at=DatabaseNow())
    operation.refresh_from_db()
    return operation


def _left(operation: BulkOperation) -> Any:
    jobs = _jobs(operation.verb, operation.tenant, operation.chosen)
    if operation.cursor is not None:
        jobs = jobs.filter(pk__gt=operation.cursor)
    return jobs.values_list("pk", flat=True)


def _ask(operation: BulkOperation, job_id: UUID) -> None:
    refusal = ""
    with transaction.atomic():
        row = BulkOperation.objects.select_for_update().get(pk=operation.pk)
        if row.cursor is not None and row.cursor >= job_id:
            return  # somebody else goes on with the same operation
        try:
            job = Job.objects.for_list().get(pk=job_id)
            getattr(job, row.verb)(by=row.by, why=row.why)
        except AetherisError as error:
            refusal = error.message
        row.note(job_id, refusal)


def _checked(wanted: Filter) -> dict[str, Any]:
    chosen = wanted.frozen()
    if wanted.ids is not None:
        found = set(Job.objects.filter(pk__in=wanted.ids, tenant=wanted.tenant).values_list("pk", flat=True))
        if missing := [job_id for job_id in wanted.ids if job_id not in found]:
            raise JobNotFound(missing[0])
    return chosen


def _jobs(verb: str, tenant: str, chosen: Mapping[str, Any]) -> JobQuerySet:
    jobs: JobQuerySet = Job.objects.filter(tenant=tenant, pk__lte=chosen["upto"])
    if "ids" not in chosen:
        jobs = TAKES[verb](jobs)
    wanted = {LOOKUPS[name]: value for name, value in chosen.items() if name in LOOKUPS}
    return jobs.filter(**wanted).order_by("pk")


def _moment(age: str | float | None) -> str | None:
    if age is None:
        return None
    try:
        seconds = durations.seconds(age)
    except ValueError as error:
        raise InputInvalid("older_than", str(error)) from error
    return (database_now() - timedelta(seconds=seconds)).isoformat()
