"""The scenes of the demo. Each submits its jobs, acts, and hands over what became of them."""

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from time import monotonic, sleep
from typing import Any, Protocol

from examples.refund.demo.judged import Judged, judge, order_of
from examples.refund.demo.world import Witness
from runtime.conf import settings
from runtime.models import Job, Step, Worker
from runtime.states import JOB_FINISHED, JobStatus

LATE_SECONDS = 15
PATIENCE_SECONDS = 90.0


class SceneFailed(Exception):
    """The demo did not go as it should."""


class Progress(Protocol):
    """Where a scene says how far it is."""

    def say(self, text: str) -> None: ...

    def advance(self, done: int, total: int) -> None: ...


@dataclass(frozen=True)
class Stage:
    """What the scenes share: the witness, this run's name, and who approves."""

    witness: Witness
    run: str
    user: str
    url: str
    manage: Callable[..., Any]
    by_hand: bool

    def url_of(self, job: Job) -> str:
        return f"{self.url}/trace/jobs/{job.pk}/"

    def submit(self, order: str, fault: str = "") -> Job:
        order_id = f"{order}-{self.run}{fault}"
        return Job.objects.submit("refund", {"order_id": order_id, "reason": "It came broken."})


def small(stage: Stage, progress: Progress) -> list[Judged]:
    """A small refund runs to its end."""
    job = stage.submit("small")
    finished([job], progress)
    return [judge("small", job, stage.witness)]


def large(stage: Stage, progress: Progress) -> list[Judged]:
    """A large refund waits for a person, holding nothing, and goes on when one approves."""
    job = stage.submit("large")
    until(lambda: _status(job) == JobStatus.WAITING, f"job {job.pk} to wait for its approval")
    if stage.by_hand:
        progress.say(f"waits for you: approve at {stage.url_of(job)}")
        finished([job], progress, patience=None)
    else:
        progress.say("waits for a person; approving with `manage.py approve`")
        stage.manage("approve", str(job.pk), "--user", stage.user)
        finished([job], progress)
    return [judge("approved", job, stage.witness)]


def killed(stage: Stage, progress: Progress) -> list[Judged]:
    """The worker dies after the payment service acted and before its answer was recorded. The other one takes over."""
    until(lambda: _workers() >= 2, "a second worker")
    job = stage.submit("killed", fault=f".late-{LATE_SECONDS}")
    order_id = order_of(job)
    until(lambda: bool(stage.witness.effects(order_id)), f"the payment service to refund {order_id}")
    step = job.steps.get(key="refund")
    pid = Worker.objects.get(steps=step).pid
    os.kill(pid, signal.SIGKILL)
    killed_at = monotonic()
    progress.say(f"kill -9 {pid}: the refund has happened, its answer is not recorded")
    until(lambda: _attempt(step) > step.attempt, f"step refund of job {job.pk} to be claimed again")
    recovery = monotonic() - killed_at
    progress.say(f"the next attempt started after {recovery:.1f} s")
    finished([job], progress)
    return [judge("killed worker", job, stage.witness, round(recovery, 2))]


def many(stage: Stage, progress: Progress, count: int) -> list[Judged]:
    """Many refunds at once."""
    jobs = [stage.submit(f"many-{number}") for number in range(count)]
    finished(jobs, progress)
    return [judge(f"{count} at once", job, stage.witness) for job in jobs]


def finished(jobs: list[Job], progress: Progress, patience: float | None = PATIENCE_SECONDS) -> None:
    """Come back when all of them have ended."""

    def all_ended() -> bool:
        ended = Job.objects.filter(pk__in=[job.pk for job in jobs], status__in=JOB_FINISHED).count()
        progress.advance(ended, len(jobs))
        return ended == len(jobs)

    until(all_ended, f"{len(jobs)} jobs to end", patience)


def until(met: Callable[[], bool], what: str, patience: float | None = PATIENCE_SECONDS) -> None:
    """Ask until it is so."""
    deadline = monotonic() + patience if patience is not None else None
    while not met():
        if deadline is not None and monotonic() > deadline:
            raise SceneFailed(
                f"Waited {patience:.0f} s in vain for {what}. `manage.py monitor` shows where it stands."
            )
        sleep(0.05)


def _workers() -> int:
    """How many processes take such steps now."""
    lease = timedelta(seconds=settings().lease_seconds)
    return Worker.objects.alive(lease).filter(name__startswith="worker-").count()


def _status(job: Job) -> Any:
    return Job.objects.values_list("status", flat=True).get(pk=job.pk)


def _attempt(step: Step) -> int:
    return int(Step.objects.values_list("attempt", flat=True).get(pk=step.pk))
