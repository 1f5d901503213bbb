"""Running a job in the process of its test."""

from runtime.execution import run_step
from runtime.incarnation import Incarnation
from runtime.models import Job, Step

MOST_STEPS = 10_000


class InProcess(Incarnation):
    """A worker without a thread of its own: its heart beats when it is asked to."""

    def start(self) -> None:
        self._beat()


def run(job: Job) -> Job:
    """Run what is ready until the job has ended, or waits: for a signal, for a person, or until a retry is due."""
    worker = InProcess(role="test")
    worker.start()
    steps = 0
    while ready := list(Step.objects.filter(job=job).ready().values_list("id", flat=True)):
        for step_id in ready:
            steps += max(run_step(step_id, worker), 1)
        if steps > MOST_STEPS:
            raise RuntimeError(f"job {job.pk} has run {steps} steps and is not at rest")
    job.refresh_from_db()
    return job
