"""The figures of a deployment on one screen: what `monitor` and the API show of jobs, steps, workers and queues.

Everything comes from PostgreSQL but the leases and the depth of the queues, which are unknown while Redis is
away. Questions go to unfinished work and to the jobs of the last day, so a long history costs nothing.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import Count, Exists, OuterRef, Sum

from runtime import doctor, holds, leases, limits
from runtime.clock import DatabaseNow, database_now
from runtime.conf import settings
from runtime.exceptions import LeaseUnavailable
from runtime.models import Hold, Job, LedgerEntry, Step, Wait, Worker

DAY = timedelta(days=1)
RATE_WINDOW = timedelta(minutes=1)

RATES = """
SELECT count(*) FILTER (WHERE created_at > %(since)s), count(*) FILTER (WHERE finished_at > %(since)s)
  FROM aetheris_job WHERE id >= %(day)s
"""
STEPS_ENDED = """
SELECT count(*) FROM aetheris_step s JOIN aetheris_job j ON j.id = s.job_id
  WHERE (j.id >= %(day)s OR j.finished_at IS NULL) AND j.last_event_at > %(since)s
    AND s.finished_at > %(since)s AND s.attempt > 0
"""


@dataclass(frozen=True)
class WorkerFigures:
    """One process that runs steps, or that did until a moment ago."""

    id: UUID
    name: str
    role: str
    pid: int
    heartbeat_seconds: float
    holding: int
    state: str
    """alive, draining, or silent: no heartbeat for a lease time."""


@dataclass(frozen=True)
class HoldFigures:
    kind: str
    name: str
    tenant: str
    by: str
    why: str
    seconds: float
    steps: int
    """That would be claimed otherwise."""


@dataclass(frozen=True)
class UnservedFigures:
    queue: str
    requires: list[str]
    steps: int


@dataclass(frozen=True)
class Figures:
    at: datetime
    jobs: dict[str, int]
    """By status: every unfinished one, and the finished ones that were submitted within a day."""
    steps: dict[str, int]
    """Of unfinished jobs, by status."""
    workers: list[WorkerFigures]
    queues: dict[str, int] | None
    """Hints in the broker; None when Redis cannot be asked."""
    leases: int | None
    limits: list[dict[str, Any]] | None
    """Of tools and models: how many call, wait, and have begun in the window; None when Redis cannot be asked."""
    redis_error: str
    ready_for_seconds: float | None
    """How long the oldest ready step has been due."""
    waits: dict[str, int]
    """What steps wait for, by kind."""
    waits_due: int
    in_doubt: int
    stranded: int
    holds: list[HoldFigures]
    """The agents and queues that rest."""
    unserved: list[UnservedFigures]
    """Ready steps that no living worker can run."""
    jobs_submitted_per_minute: int
    jobs_ended_per_minute: int
    steps_ended_per_minute: int

    def as_json(self) -> dict[str, Any]:
        workers = [asdict(worker) | {"id": str(worker.id)} for worker in self.workers]
        return asdict(self) | {"at": self.at.isoformat(), "workers": workers}


def collect() -> Figures:
    """Read all of it now."""
    now = database_now()
    day_ago = _first_id(datetime.now(UTC) - DAY)  # ids tell real time, also where a test has moved the clock
    submitted, ended, steps_ended = _rates(now, day_ago)
    queues, lease_count, redis_error = _redis()
    return Figures(
        at=now,
        jobs=_jobs(day_ago),
        steps=_steps(),
        workers=_workers(now),
        queues=queues,
        leases=lease_count,
        limits=_limits(),
        redis_error=redis_error,
        ready_for_seconds=_ready_for(now),
        waits=dict(
            Wait.objects.open()
            .order_by()
            .values_list("kind")
            .annotate(Count("id"))
            .values_list("kind", "id__count")
        ),
        waits_due=Wait.objects.due().count(),
        in_doubt=LedgerEntry.objects.undecided().count(),
        stranded=_stranded(),
        holds=_holds(now),
        unserved=unserved(),
        jobs_submitted_per_minute=submitted,
        jobs_ended_per_minute=ended,
        steps_ended_per_minute=steps_ended,
    )


def _jobs(day_ago: UUID) -> dict[str, int]:
    recent = Job.objects.finished().filter(pk__gte=day_ago)
    counts: dict[str, int] = {}
    for jobs in (Job.objects.unfinished(), recent):
        counts |= dict(
            jobs.order_by().values("status").annotate(count=Count("pk")).values_list("status", "count")
        )
    return counts


def _steps() -> dict[str, int]:
    """From the counters of the jobs: there may be very many steps."""
    sums = Job.objects.unfinished().aggregate(
        ready=Sum("ready_steps"),
        running=Sum("running_steps"),
        waiting=Sum("waiting_steps"),
        unfinished=Sum("unfinished_steps"),
    )
    counts = {name: int(value or 0) for name, value in sums.items()}
    unfinished = counts.pop("unfinished")
    return counts | {"blocked": unfinished - sum(counts.values())}


def _workers(now: datetime) -> list[WorkerFigures]:
    """Those that did not stop in order: the living, and the dead of the last minute."""
    lease = settings().lease_seconds
    shown = Worker.objects.filter(
        stopped_at__isnull=True, heartbeat_at__gt=DatabaseNow() - timedelta(seconds=lease * 12)
    )
    found = []
    for worker in shown.order_by("role", "name", "-started_at"):
        age = (now - worker.heartbeat_at).total_seconds()
        state = "silent" if age > lease else "draining" if worker.draining_at else "alive"
        found.append(
            WorkerFigures(
                worker.id, worker.name, worker.role, worker.pid, round(age, 1), len(worker.holding), state
            )
        )
    return found


def _holds(now: datetime) -> list[HoldFigures]:
    return [
        HoldFigures(
            str(held.kind),
            held.name,
            held.tenant,
            held.by,
            held.why,
            round((now - held.held_at).total_seconds(), 1),
            holds.kept_back(held).count(),
        )
        for held in Hold.objects.active()
    ]


def unserved() -> list[UnservedFigures]:
    """Ready steps for which there is no worker that lives, serves their queue and has what they require."""
    able = Worker.objects.alive(timedelta(seconds=settings().lease_seconds)).filter(
        role="worker", queues__contains=[OuterRef("queue")], capabilities__contains=OuterRef("requires")
    )
    found = (
        Step.objects.ready().exclude(Exists(able)).order_by("queue", "requires").values("queue", "requires")
    )
    return [
        UnservedFigures(row["queue"], row["requires"], row["count"])
        for row in found.annotate(count=Count("pk"))
    ]


def _redis() -> tuple[dict[str, int] | None, int | None, str]:
    try:
        return leases.queue_depths(settings().all_queues), leases.count(), ""
    except LeaseUnavailable as error:
        return None, None, str(error)


def _limits() -> list[dict[str, Any]] | None:
    try:
        return limits.usage()
    except LeaseUnavailable:
        return None


def _ready_for(now: datetime) -> float | None:
    oldest = Step.objects.ready().order_by("ready_at").only("ready_at", "run_after").first()
    if oldest is None:
        return None
    due = max(at for at in (oldest.ready_at, oldest.run_after) if at is not None)
    return round(max(0.0, (now - due).total_seconds()), 1)


def _stranded() -> int:
    question = next(each for each in doctor.questions() if each.code == "stranded")
    with connection.cursor() as cursor:
        cursor.execute(question.sql, {"jobs": None})
        return len(cursor.fetchall())


def _rates(now: datetime, day_ago: UUID) -> tuple[int, int, int]:
    values: dict[str, UUID | datetime] = {"day": day_ago, "since": now - RATE_WINDOW}
    with connection.cursor() as cursor:
        cursor.execute(RATES, values)
        submitted, ended = cursor.fetchone()
        cursor.execute(STEPS_ENDED, values)
        return submitted, ended, cursor.fetchone()[0]


def _first_id(at: datetime) -> UUID:
    """The smallest UUIDv7 of a moment."""
    return UUID(int=int(at.timestamp() * 1000) << 80)
