"""Subjobs: a step that runs another agent as a job of its own.

No turn touches two jobs. A child begins under an idempotency key of its parent's step, so it begins once; its
end reaches the parent as a signal, once, delivered by a second turn. What a crash leaves out the sweep does.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any
from uuid import UUID

import structlog
from django.db import transaction

from runtime import planning
from runtime.clock import DatabaseNow
from runtime.exceptions import JobFinished
from runtime.models import Job

if TYPE_CHECKING:
    from runtime.models import Step

logger = structlog.get_logger(__name__)


def begin(step: Step, agent: str, input: Any, *, on_parent_end: str) -> Job:
    """The child job of a step; the same one on every attempt."""
    return planning.submit(
        agent,
        input,
        idempotency_key=f"subjob:{step.job_id}/{step.key}",
        tenant=step.tenant,
        by=f"job:{step.job_id}",
        parent=step,
        on_parent_end=on_parent_end,
    )


def report_after_commit(job_id: UUID) -> None:
    transaction.on_commit(lambda: report(Job.objects.with_parent().get(pk=job_id)), robust=True)


def report(child: Job) -> None:
    """Tell the parent that its subjob has ended. A parent that has ended itself does not mind."""
    parent = child.parent_step
    if parent is None:
        return
    with parent.turn() as turn:
        name = f"subjob:{child.pk}"
        turn.signal(name, {"status": child.status}, dedup_id=name, causes=[bytes(child.head).hex()])
    Job.objects.filter(pk=child.pk).update(reported_at=DatabaseNow())


def cancel_children(job: Job, *, by: str) -> None:
    """Ask the subjobs of a job to end with it, unless they were begun to outlive it."""
    for child in Job.objects.unfinished().filter(parent_step__job=job, on_parent_end="cancel").for_list():
        with suppress(JobFinished):  # it ended meanwhile
            child.cancel(by=by, why=f"its parent {job.pk} was cancelled")
