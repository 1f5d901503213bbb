"""The sweep: it restores the reason to move wherever one was lost. Any number of sweepers may run at once.

Each candidate goes through the gate in its own transaction, so one poisoned row never stops its neighbours.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TypeVar
from uuid import UUID

import structlog
from django.db import InterfaceError, OperationalError, connection, models

from runtime import batches, dispatch, hinting, leases, queues, subjobs, webhooks
from runtime.clock import DatabaseNow
from runtime.conf import settings
from runtime.exceptions import JobFinished, LeaseUnavailable, StaleAttempt
from runtime.execution import run_step
from runtime.hinting import Group
from runtime.incarnation import Incarnation
from runtime.lifelines import Lookout
from runtime.models import Job, Step, Wait, Webhook, Worker
from runtime.ports import CrashPoint, crash_point
from runtime.states import StepStatus
from runtime.turn import Turn

logger = structlog.get_logger(__name__)

BATCH = 500
FORGET_SECONDS = 3600.0

T = TypeVar("T", bound=models.Model)


@dataclass
class Swept:
    """What one sweep did."""

    rescued: int = 0
    timed_out: int = 0
    woken: int = 0
    webhooks: int = 0
    hinted: int = 0
    run_here: int = 0

    @property
    def is_full(self) -> bool:
        """Whether there may be more to do at once."""
        return self.woken >= BATCH


@dataclass
class Sweeper:
    """The supervised sweeper process: also a worker, for the time in which no hint can be sent."""

    worker: Incarnation
    lookout: Lookout = field(default_factory=Lookout)
    _last: float | None = None
    _blind_until: float = 0.0
    _subjobs_after: UUID | None = None
    _forget_after: float = 0.0
    _pool: ThreadPoolExecutor | None = field(default=None, repr=False)

    def sweep(self) -> Swept:
        """One round. Raises `DatabaseError` when PostgreSQL is away; the next round begins afresh."""
        self._notice_gap()
        swept = Swept()
        if time.monotonic() >= self._blind_until:
            swept.rescued = rescue_dead(self.lookout.dead()) + rescue_lost()
        swept.timed_out = end_overdue() + end_overdue_jobs()
        swept.woken = wake_due(within=settings().sweep_seconds)
        swept.webhooks = read_webhooks()
        tell_parents()
        self._subjobs_after = cancel_orphans(self._subjobs_after)
        swept.hinted, swept.run_here = self._hint_ready()
        self._forget_workers()
        self._last = time.monotonic()
        return swept

    def pause_after(self, swept: Swept) -> float:
        """Seconds until the next round is worth its while."""
        return 0.0 if swept.is_full else min(settings().sweep_seconds, self.lookout.soonest)

    def end(self) -> None:
        """Steps that run here finish within the grace time; past it the heartbeat hands them back and ends us."""
        self.worker.drain()
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
        self.worker.stop()

    def _notice_gap(self) -> None:
        """After a gap of our own, such as an outage of PostgreSQL, every worker's row is old: wait a lease time."""
        now = time.monotonic()
        if (
            self._last is not None
            and now - self._last > settings().lease_seconds / 2 + settings().sweep_seconds
        ):
            self._blind_until = now + settings().lease_seconds
            logger.warning("sweep_gap", seconds=round(now - self._last, 1))

    def _hint_ready(self) -> tuple[int, int]:
        groups = hinting.groups()
        served = queues.reach(group.address for group in groups)
        try:
            depths = leases.queue_depths({queue for queue in served.values() if queue}) if groups else {}
        except LeaseUnavailable:
            return 0, self._run_here(groups)
        # What waits for a full queue, or for a worker that is not there, does not hide the others.
        open_ = {
            address for address, queue in served.items() if queue and depths[queue] < dispatch.FULL_QUEUE
        }
        found = hinting.unclaimed(group for group in groups if group.address in open_)
        if found.wanted and not dispatch.hint(
            [(step_id, str(served[address])) for step_id, address in found.wanted]
        ):
            return 0, self._run_here(groups)
        if found.wanted or found.resting:
            hinting.note(found.wanted_ids + found.resting)
        return len(found.wanted), 0

    def _run_here(self, groups: Sequence[Group]) -> int:
        """No hint can be sent: run what is ready, with as many threads as this process has."""
        able = set(self.worker.capabilities)
        found = hinting.unclaimed(group for group in groups if able.issuperset(group.requires))
        hinting.note(found.resting)
        self._pool = self._pool or ThreadPoolExecutor(
            settings().sweeper_threads, thread_name_prefix="aetheris-step"
        )
        free = max(0, settings().sweeper_threads - len(self.worker.held_ids()))
        for step_id in found.wanted_ids[:free]:
            self._pool.submit(self._run, step_id)
        return min(free, len(found.wanted))

    def _run(self, step_id: int) -> None:
        try:
            run_step(step_id, self.worker)
        except Exception:  # nobody asks this thread how it went, so it says so itself
            logger.exception("step_not_run", step=step_id)
        finally:
            connection.close()  # this thread may not be needed again for days

    def _forget_workers(self) -> None:
        if time.monotonic() >= self._forget_after:
            forget_workers()
            self._forget_after = time.monotonic() + FORGET_SECONDS


def rescue_dead(workers: Sequence[UUID]) -> int:
    """Steps of workers that are known to be dead go back to ready, whatever their leases say."""
    if not workers:
        return 0
    lost = Step.objects.filter(status=StepStatus.RUNNING, worker__in=workers).for_list()[:BATCH]
    crash_point(CrashPoint.IN_SWEEP)
    return _commit("rescued", [step.rescuing() for step in lost])


def rescue_lost() -> int:
    """Steps whose lease is gone and whose worker is silent, or does not know of them, go back to ready."""
    lost_steps = lost()
    crash_point(CrashPoint.IN_SWEEP)
    return _commit("rescued", [step.rescuing() for step in lost_steps])


def lost() -> list[Step]:
    lease = timedelta(seconds=settings().lease_seconds)
    suspects = list(Step.objects.unattended(lease).for_list()[:BATCH])
    gone = leases.missing([step.pk for step in suspects])
    return [step for step in suspects if step.pk in gone]


def end_overdue() -> int:
    """Steps past their deadline are retried or failed, even if their thread never returns."""
    return _commit("timed_out", [step.timing_out() for step in Step.objects.overdue().for_list()[:BATCH]])


def end_overdue_jobs() -> int:
    """Jobs that have worked too long, or whose deadline is over, fail."""
    worked = Job.objects.overdue().for_list()[:BATCH]
    late = Job.objects.past_deadline().for_list()[:BATCH]
    turns = [job.timing_out(f"within {job.timeout:g} s of work") for job in worked]
    turns += [job.timing_out(f"by {job.deadline_at:%Y-%m-%d %H:%M:%S} UTC") for job in late]
    return _commit("job_timed_out", turns)


def wake_due(*, within: float = math.inf) -> int:
    """Waits past their deadline resume their step, which says what a timeout means: as many as in `within` seconds."""
    until = time.monotonic() + within
    due = Wait.objects.due().only(
        "job", "step", "step_key", "attempt", "kind", "name", "for_call", "deadline_at"
    )
    woken, last = 0, None
    while time.monotonic() < until:
        # A page begins where the one before ended: what could not be woken does not stand in the way of others.
        page = list(due.after(last)[:BATCH])
        woken += _commit("woken", [wait.timing_out() for wait in page])
        if len(page) < BATCH:
            break
        last = page[-1]
    return woken


def read_webhooks() -> int:
    """Webhooks that a crash left unread, and those whose call is known only now."""
    return _each(Webhook.objects.due()[:BATCH], webhooks.read, "webhook_read")


def tell_parents() -> int:
    """Ends of subjobs that a crash kept from their parents."""
    return _each(Job.objects.unreported()[:BATCH], subjobs.report, "reported")


def cancel_orphans(after: UUID | None = None) -> UUID | None:
    """Subjobs of ended parents are asked to end: of those open, so many that follow `after`. Where to look next."""
    tied = Job.objects.tied_to_parents().order_by("pk").values_list("pk", flat=True)
    page = list((tied.filter(pk__gt=after) if after else tied)[:BATCH])
    orphans = Job.objects.filter(pk__in=page).orphaned().select_related("parent_step").order_by("pk")
    _each(orphans, subjobs.cancel_orphan, "orphan_cancelled")
    return page[-1] if len(page) == BATCH else None


def forget_workers() -> None:
    """Rows of incarnations that ended a day ago and hold nothing."""
    old = DatabaseNow() - timedelta(days=1)
    Worker.objects.filter(heartbeat_at__lt=old).exclude(steps__status="running").delete()


def _commit(told: str, turns: list[Turn]) -> int:
    count = batches.commit(turns)
    if count:
        logger.info("swept", verb=told, count=count)
    return count


def _each(rows: Iterable[T], verb: Callable[[T], None], told: str) -> int:
    count = 0
    for row in rows:
        try:
            verb(row)
        except (StaleAttempt, JobFinished):
            continue  # somebody was first, perhaps another sweeper
        except (OperationalError, InterfaceError):
            raise  # PostgreSQL is away, not this row at fault
        except Exception:  # whatever is wrong with this row, its neighbours are swept
            logger.exception("sweep_refused", verb=told, row=row.pk)
            continue
        logger.info("swept", verb=told, row=row.pk)
        count += 1
    return count
