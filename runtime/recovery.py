"""The sweep: it restores the reason to move wherever one was lost. Any number of sweepers may run at once.

Each candidate goes through the gate in its own transaction, so one poisoned row never stops its neighbours.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TypeVar

import structlog
from django.db import InterfaceError, OperationalError, connection, models, transaction
from django.db.models import F, Q
from django.db.models.functions import Least, Power

from runtime import dispatch, leases, queues, subjobs
from runtime.clock import DatabaseNow
from runtime.conf import settings
from runtime.exceptions import LeaseUnavailable, StaleAttempt
from runtime.execution import run_step
from runtime.incarnation import Incarnation
from runtime.models import Job, Step, Wait, Worker
from runtime.models.step import StepQuerySet
from runtime.ports import CrashPoint, crash_point

logger = structlog.get_logger(__name__)

BATCH = 500
FULL_QUEUE = 200
"""Messages in a queue from which on hints are surely there, and more would only pile up."""

T = TypeVar("T", bound=models.Model)


@dataclass
class Swept:
    """What one sweep did."""

    rescued: int = 0
    timed_out: int = 0
    woken: int = 0
    hinted: int = 0
    run_here: int = 0


@dataclass
class Sweeper:
    """The supervised sweeper process: also a worker, for the time in which no hint can be sent."""

    worker: Incarnation
    _last: float | None = None
    _blind_until: float = 0.0
    _pool: ThreadPoolExecutor | None = field(default=None, repr=False)

    def sweep(self) -> Swept:
        """One round. Raises `DatabaseError` when PostgreSQL is away; the next round begins afresh."""
        self._notice_gap()
        swept = Swept()
        if time.monotonic() >= self._blind_until:
            swept.rescued = rescue_lost()
        swept.timed_out = end_overdue()
        swept.woken = wake_due()
        settle_subjobs()
        swept.hinted, swept.run_here = self._hint_ready()
        forget_workers()
        self._last = time.monotonic()
        return swept

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
        shut: set[str] = set()
        while wanted := unhinted().addresses(BATCH, other_than=shut):
            served = queues.reach(address for _, address in wanted)
            try:
                depths = leases.queue_depths({queue for queue in served.values() if queue})
            except LeaseUnavailable:
                return 0, self._run_here()
            open_ = {address for address, queue in served.items() if queue and depths[queue] < FULL_QUEUE}
            if closed := served.keys() - open_:
                shut |= closed  # what waits for these, or for a worker that is not there, must not hide the others
                continue
            if not dispatch.hint([(step_id, str(served[address])) for step_id, address in wanted]):
                return 0, self._run_here()
            ids = [step_id for step_id, _ in wanted]
            _note_hints(ids)
            return len(ids), 0
        return 0, 0

    def _run_here(self) -> int:
        """No hint can be sent: run what is ready, with as many threads as this process has."""
        mine = unhinted().filter(requires__contained_by=self.worker.capabilities)
        step_ids = list(mine.values_list("pk", flat=True)[:BATCH])
        self._pool = self._pool or ThreadPoolExecutor(
            settings().sweeper_threads, thread_name_prefix="aetheris-step"
        )
        free = settings().sweeper_threads - len(self.worker.held_ids())
        for step_id in step_ids[: max(0, free)]:
            self._pool.submit(self._run, step_id)
        return max(0, min(free, len(step_ids)))

    def _run(self, step_id: int) -> None:
        try:
            run_step(step_id, self.worker)
        except Exception:  # nobody asks this thread how it went, so it says so itself
            logger.exception("step_not_run", step=step_id)
        finally:
            connection.close()  # this thread may not be needed again for days


def rescue_lost() -> int:
    """Steps whose lease is gone and whose worker is silent, or does not know of them, go back to ready."""
    lease = timedelta(seconds=settings().lease_seconds)
    suspects = list(Step.objects.unattended(lease).for_list()[:BATCH])
    gone = leases.missing([step.pk for step in suspects])
    crash_point(CrashPoint.IN_SWEEP)
    return _each((step for step in suspects if step.pk in gone), Step.rescue, "rescued")


def end_overdue() -> int:
    """Steps past their deadline are retried or failed, even if their thread never returns."""
    return _each(Step.objects.overdue().for_list()[:BATCH], Step.time_out, "timed_out")


def wake_due() -> int:
    """Waits past their deadline resume their step, which says what a timeout means."""
    return _each(Wait.objects.due().select_related("step")[:BATCH], Wait.time_out, "woken")


def settle_subjobs() -> int:
    """Ends that a crash kept from their parents are told now, and children of ended parents are asked to end."""
    told = _each(Job.objects.unreported()[:BATCH], subjobs.report, "reported")
    orphans = Job.objects.orphaned().for_list()[:BATCH]
    return told + _each(
        orphans, lambda job: job.cancel(by="sweeper", why="its parent ended"), "orphan_cancelled"
    )


def unhinted() -> StepQuerySet:
    """Ready steps that nobody claimed: due now, and their last hint long enough ago."""
    base = settings().rehint_seconds
    pause = Least(
        Power(2.0, F("hints")) * base, settings().rehint_cap_seconds, output_field=models.FloatField()
    )
    last = models.Func(
        F("hinted_at"),
        F("run_after"),
        F("ready_at"),
        function="GREATEST",
        output_field=models.DateTimeField(),
    )
    interval = models.Func(
        pause, template="make_interval(secs => %(expressions)s)", output_field=models.DurationField()
    )
    never_hinted = Q(
        run_after__isnull=False, hinted_at__isnull=True
    )  # became due by itself: nobody was told yet
    return (
        Step.objects.ready()
        .annotate(last=last, pause=interval)
        .filter(never_hinted | Q(last__lt=DatabaseNow() - F("pause")))
        .order_by("-priority", "ready_at")
    )


def _note_hints(step_ids: list[int]) -> None:
    with transaction.atomic():
        # A turn holds its job and then its steps; rows that one is at work on are skipped, or the two could deadlock.
        mine = (
            Step.objects.filter(pk__in=step_ids)
            .select_for_update(skip_locked=True)
            .values_list("pk", flat=True)
        )
        Step.objects.filter(pk__in=list(mine)).update(
            hinted_at=DatabaseNow(), hints=Least(F("hints") + 1, 30)
        )


def forget_workers() -> None:
    """Rows of incarnations that ended a day ago and hold nothing."""
    old = DatabaseNow() - timedelta(days=1)
    Worker.objects.filter(heartbeat_at__lt=old).exclude(steps__status="running").delete()


def _each(rows: Iterable[T], verb: Callable[[T], None], told: str) -> int:
    count = 0
    for row in rows:
        try:
            verb(row)
        except StaleAttempt:
            continue  # somebody was first, perhaps another sweeper
        except (OperationalError, InterfaceError):
            raise  # PostgreSQL is away, not this row at fault
        except Exception:  # whatever is wrong with this row, its neighbours are swept
            logger.exception("sweep_refused", verb=told, row=row.pk)
            continue
        logger.info("swept", verb=told, row=row.pk)
        count += 1
    return count
