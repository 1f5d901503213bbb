"""One run: so many jobs, not too many open at a time; then rows, events and the world outside are asked."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from uuid import UUID, uuid4

from examples.payments.service import PaymentService
from runtime import doctor
from runtime.models import Event, Job, Step
from runtime.stack.supervisor import Supervisor
from runtime.states import JobStatus
from tests.history.export import Known, judged
from tests.soak.samples import Sampler

AGENT = "five"
STEPS = 5
CALLS = 3
OPEN_AT_MOST = 400
STALLED_SECONDS = 120.0
"""Without one job more that has ended, the rest will not end either."""


@dataclass
class Verdict:
    """Of one run. `str` is its one line."""

    jobs: int
    seconds: float
    ended: Counter[str]
    attempts: int
    """Claims beyond the first of each step: nothing was killed, so there should be none."""
    took: str
    violations: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        ended = ", ".join(f"{status} {count}" for status, count in sorted(self.ended.items()))
        return (
            f"soak: {self.jobs} jobs of {STEPS} steps ({ended}) in {self.seconds:.0f} s, "
            f"{self.jobs * STEPS / self.seconds:.0f} steps/s; {len(self.violations)} violations; "
            f"{self.attempts} steps claimed more than once; at most: {self.took}"
        )


def run(stack: Supervisor, payments: PaymentService, jobs: int, seconds: float = math.inf) -> Verdict:
    """So many jobs, or as many as there is time for."""
    sampler = Sampler(stack)
    sampler.start()
    began = time.monotonic()
    try:
        submitted = submit(jobs, until=began + seconds)
        left = settle(submitted)
        took = time.monotonic() - began
    finally:
        sampler.end()
    mine = Job.objects.filter(pk__in=submitted)
    verdict = Verdict(
        jobs=len(submitted),
        seconds=took,
        ended=Counter(mine.values_list("status", flat=True)),
        attempts=Step.objects.filter(job__in=submitted, attempt__gt=1).count(),
        took=sampler.told(),
    )
    verdict.violations += [f"{left} jobs have not ended"] * bool(left)
    gone = len(submitted) - mine.count()
    verdict.violations += [f"{gone} accepted jobs are gone"] * bool(gone)
    verdict.violations += _of_rows(submitted) + list(_of_the_world(submitted, payments)) + sampler.growths()
    return verdict


def submit(jobs: int, *, until: float = math.inf) -> list[UUID]:
    submitted: list[UUID] = []
    while len(submitted) < jobs and time.monotonic() < until:
        if _open(submitted[-2 * OPEN_AT_MOST :]) >= OPEN_AT_MOST:
            time.sleep(0.1)
            continue
        for _ in range(min(50, jobs - len(submitted))):
            job = Job.objects.submit(AGENT, {"order": uuid4().hex})
            submitted.append(job.pk)
    return submitted


def settle(submitted: list[UUID]) -> int:
    """Until every job has ended or nothing moves any more; how many have not."""
    left, moved_at = len(submitted), time.monotonic()
    while (now := _open(submitted)) and time.monotonic() - moved_at < STALLED_SECONDS:
        if now < left:
            left, moved_at = now, time.monotonic()
        time.sleep(0.2)
    return now


def _open(jobs: list[UUID]) -> int:
    return Job.objects.unfinished().filter(pk__in=jobs).count()


def _of_rows(submitted: list[UUID]) -> list[str]:
    jobs = Job.objects.filter(pk__in=submitted)
    wrong = jobs.exclude(status=JobStatus.COMPLETED).values_list("pk", "status")[:5]
    found = [f"job {pk} is {status}" for pk, status in wrong]
    doubts = Event.objects.filter(job__in=submitted, type="tool_unknown").count()
    found += [f"{doubts} calls came to be in doubt, and nothing was broken"] * bool(doubts)
    found += [f"{one.code} {one.job_id}: {one.message}" for one in doctor.examine(submitted, deep=False)]
    known = Known(at_rest=True, faults=(), submits=submitted)
    return found + [str(violation) for violation in judged(known, jobs)]


def _of_the_world(submitted: list[UUID], payments: PaymentService) -> Iterator[str]:
    """One effect under the key of each call, and as many as there are calls."""
    effects: Counter[str] = Counter(payments.effects.counts()["by_key"])
    keys = [
        str(key)
        for key in Job.objects.filter(pk__in=submitted, ledger__isnull=False).values_list(
            "ledger__idempotency_key", flat=True
        )
    ]
    if len(keys) != CALLS * len(submitted):
        yield f"{len(keys)} calls are in the ledger, and not {CALLS} of each job"
    for key in keys:
        if effects[key] != 1:
            yield f"{effects[key]} things happened under the key {key}"
