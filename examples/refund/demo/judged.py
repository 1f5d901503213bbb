"""What became of one job of the demo, and whether that is what was promised."""

from dataclasses import asdict, dataclass
from typing import Any

from examples.refund.demo.world import Witness
from runtime.models import Job
from runtime.states import JobStatus, StepStatus


@dataclass(frozen=True)
class Judged:
    """One job, as the database and the witness tell it. Recovery is from the kill to the next attempt."""

    scene: str
    job: str
    order: str
    status: str
    steps_completed: int
    steps: int
    attempts: int
    refunds: int
    messages: int
    sent: int
    recovery_seconds: float | None = None

    @property
    def held(self) -> bool:
        """Finished, and every effect exactly once."""
        return (self.status, self.refunds, self.messages) == (JobStatus.COMPLETED, 1, 1)

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"held": self.held}


def order_of(job: Job) -> str:
    """The order that a job of the demo is about."""
    return str((job.input or {})["order_id"])


def judge(scene: str, job: Job, witness: Witness, recovery_seconds: float | None = None) -> Judged:
    """Ask both sides about a job."""
    job.refresh_from_db()
    order = order_of(job)
    steps = list(job.steps.only("status", "attempt"))
    refunds = witness.effects(order)
    return Judged(
        scene=scene,
        job=str(job.pk),
        order=order,
        status=job.status,
        steps_completed=sum(step.status == StepStatus.COMPLETED for step in steps),
        steps=sum(step.status != StepStatus.SKIPPED for step in steps),
        attempts=sum(step.attempt for step in steps),
        refunds=len(refunds),
        messages=len(witness.effects(order, "message")),
        sent=sum(witness.requests(key) for key in {refund["key"] for refund in refunds}),
        recovery_seconds=recovery_seconds,
    )
