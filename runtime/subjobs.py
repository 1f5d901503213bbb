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

from runtime import committed, planning
from runtime.clock import DatabaseNow
from runtime.conf import settings
from runtime.exceptions import JobFinished, StaleAttempt, TooDeep
from runtime.models import Event, Job, Signal
from runtime.states import JobStatus, SignalState
from runtime.turn import part

if TYPE_CHECKING:
    from runtime.models import Step

logger = structlog.get_logger(__name__)


def begin(step: Step, agent: str, input: Any, *, on_parent_end: str) -> Job:
    """The child job of a step; the same one on every attempt. Raises `TooDeep` below too many jobs."""
    depth = Job.objects.values_list("depth", flat=True).get(pk=step.job_id) + 1
    if depth > settings().max_subjob_depth:
        raise TooDeep(step.key, agent, settings().max_subjob_depth)
    return planning.submit(
        agent,
        input,
        idempotency_key=f"subjob:{step.job_id}/{step.pk}",
        tenant=step.tenant,
        by=f"job:{step.job_id}",
        parent=step,
        depth=depth,
        on_parent_end=on_parent_end,
    )


def name_of(child: Job) -> str:
    """The name of the signal by which a subjob tells its end."""
    return f"subjob:{child.pk}"


def report_after_commit(job_id: UUID) -> None:
    committed.then(lambda: report(Job.objects.with_parent().get(pk=job_id)))


def report(child: Job) -> None:
    """Tell the parent that its subjob has ended. A parent that has ended itself does not mind."""
    parent = child.parent_step
    if parent is None:
        return
    assert child.finished_at is not None
    with parent.turn() as turn:
        # A subjob that is retried ends once more.
        once = f"{name_of(child)}:{child.finished_at.isoformat()}"
        turn.signal(name_of(child), {"status": child.status}, dedup_id=once, causes=[bytes(child.head).hex()])
    Job.objects.filter(pk=child.pk, finished_at=child.finished_at).update(reported_at=DatabaseNow())


def is_told(child: Job, step: Step) -> bool:
    """Whether the end of a subjob was told and is not in the inbox of the step's job: no signal will come of it."""
    inbox = Signal.objects.filter(job=step.job_id, name=name_of(child), state=SignalState.BUFFERED)
    return child.reported_at is not None and not inbox.exists()


def go_on(child: Job, step: Step) -> None:
    """A subjob that did not complete goes on from there, if the job of its step was retried since."""
    if not child.is_finished or child.status == JobStatus.COMPLETED:
        return
    retried = Event.objects.filter(job=step.job_id, type="job_reopened").order_by("-seq").first()
    if retried is None or child.finished_at is None or retried.at < child.finished_at:
        return
    why = {"by": f"job:{step.job_id}", "why": "its parent was retried"}
    with suppress(JobFinished), child.turn() as turn:  # somebody else retried it already
        facts = {"verb": "reopen"}
        turn.job("reopen", "job_reopened", data=facts, parts=[part("operator", why)], with_parent=True)
    child.refresh_from_db()


def cancel_children(job: Job, *, by: str) -> None:
    """Ask the subjobs of a job to end with it, unless they were begun to outlive it."""
    for child in Job.objects.unfinished().filter(parent_step__job=job, on_parent_end="cancel").for_list():
        with suppress(JobFinished):  # it ended meanwhile
            child.cancel(by=by, why=f"its parent {job.pk} was cancelled")


def cancel_orphan(child: Job) -> None:
    """Ask a subjob to end whose parent has ended, unless the parent was retried since somebody looked."""
    assert child.parent_step is not None
    with transaction.atomic():
        Job.objects.select_for_update(no_key=True).only("pk").get(pk=child.parent_step.job_id)
        if not Job.objects.filter(pk=child.pk).orphaned().exists():
            raise StaleAttempt(f"the parent of job {child.pk} goes on")
        child.cancel(by="sweeper", why="its parent ended")
