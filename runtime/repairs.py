"""What `doctor --repair` does: for findings of which the safe way out is known, and for what is merely overdue.

Safe is what the gate does, or what changes only a row that says again what others say. Everything else is for a person:
the finding's remedy says what.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from uuid import UUID

from django.db import connection, transaction

from runtime import dispatch, doctor, hinting, recovery
from runtime.clock import DatabaseNow
from runtime.doctor import Finding
from runtime.exceptions import AetherisError
from runtime.models import Job, Signal, Snapshot, Step, Wait, Webhook, Worker
from runtime.states import SignalState, StepStatus

COUNT_AGAIN = """
UPDATE aetheris_job j SET ready_steps = c.ready, running_steps = c.running, waiting_steps = c.waiting,
  unfinished_steps = c.unfinished
FROM (SELECT count(*) FILTER (WHERE status = 'ready') AS ready, count(*) FILTER (WHERE status = 'running') AS running,
    count(*) FILTER (WHERE status = 'waiting') AS waiting, count(*) FILTER (WHERE finished_at IS NULL) AS unfinished
  FROM aetheris_step WHERE job_id = %(job)s) c
WHERE j.id = %(job)s
"""


class NotRepaired(AetherisError):
    """What looked safe is not."""


@dataclass(frozen=True)
class Chore:
    """Something that the sweeper does, where one runs."""

    what: str
    due: Callable[[], int]
    do: Callable[[], object]


def of_findings(findings: Collection[Finding], *, dry_run: bool) -> list[str]:
    """What would be done about them, or was."""
    told = []
    for job_id, code, repair in dict.fromkeys(
        (one.job_id, one.code, one.repair) for one in findings if one.repair
    ):
        line = f"job {job_id}: {repair}"
        if not dry_run:
            try:
                REPAIRS[code](job_id)
            except AetherisError as error:
                line = f"job {job_id}: not repaired ({code}): {error}"
        told.append(line)
    return told


def of_what_is_due(*, dry_run: bool) -> list[str]:
    """One sweep, without running any step here: what it would do, or did."""
    told = []
    for chore in CHORES:
        if count := chore.due():
            told.append(f"{count} {chore.what}")
            if not dry_run and chore.do() is False:
                told[-1] += ": not now, the broker is away"
    return told


# Findings


def count_again(job_id: UUID) -> None:
    with transaction.atomic():
        job = _locked(job_id)
        if wrong := doctor.differences(job):
            raise NotRepaired(f"the rows are not what the events say: {wrong[0]}")
        with connection.cursor() as cursor:
            cursor.execute(COUNT_AGAIN, {"job": job_id})


def close_stale_waits(job_id: UUID) -> None:
    with transaction.atomic():
        _locked(job_id)
        stale = Wait.objects.open().filter(job=job_id).exclude(step__status=StepStatus.WAITING)
        stale.update(closed_at=DatabaseNow(), outcome="closed")


def give_signals(job_id: UUID) -> None:
    """A signal that comes again is not kept again, but the gate looks who waits."""
    buffered = Signal.objects.filter(job=job_id, state=SignalState.BUFFERED).order_by("pk")
    with Job.objects.get(pk=job_id).turn() as turn:
        for signal in buffered:
            turn.signal(signal.name, None, dedup_id=str(signal.dedup_id))


def rescue(job_id: UUID) -> None:
    running = Step.objects.filter(job=job_id, status=StepStatus.RUNNING)
    for step in running.exclude(worker__in=Worker.objects.all()):
        step.rescue()


def forget_snapshots(job_id: UUID) -> None:
    Snapshot.objects.filter(job=job_id).delete()


def _locked(job_id: UUID) -> Job:
    return Job.objects.select_for_update(no_key=True).get(pk=job_id)


REPAIRS: dict[str, Callable[[UUID], None]] = {
    "counters": count_again,
    "stale_wait": close_stale_waits,
    "unbound": give_signals,
    "unknown_worker": rescue,
    "snapshot": forget_snapshots,
}


# What is due


def _waiting_hints() -> list[tuple[int, str]]:
    return hinting.unclaimed(hinting.groups()).wanted


CHORES = (
    Chore("steps of lost workers are rescued", lambda: len(recovery.lost()), recovery.rescue_lost),
    Chore("overdue steps end", lambda: Step.objects.overdue().count(), recovery.end_overdue),
    Chore(
        "overdue jobs end",
        lambda: Job.objects.overdue().count() + Job.objects.past_deadline().count(),
        recovery.end_overdue_jobs,
    ),
    Chore("due waits wake", lambda: Wait.objects.due().count(), recovery.wake_due),
    Chore("webhooks are read", lambda: Webhook.objects.due().count(), recovery.read_webhooks),
    Chore("ends of subjobs are told", lambda: Job.objects.unreported().count(), recovery.tell_parents),
    Chore(
        "subjobs of ended parents are cancelled",
        lambda: Job.objects.orphaned().count(),
        recovery.cancel_orphans,
    ),
    Chore(
        "ready steps are sent again",
        lambda: len(_waiting_hints()),
        lambda: dispatch.hint(dispatch.reached(_waiting_hints())),
    ),
)
