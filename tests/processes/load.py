"""Fifty jobs at once, and what must be true of them after an outage."""

from collections import Counter

from runtime.models import Job, Step
from runtime.states import JobStatus
from tests.processes.client import Client

JOBS = 50
CALLS = 3
"""Of each errand."""

INTERVENTIONS = (
    "step_rescued",
    "step_timed_out",
    "step_retried",
    "step_failed",
    "step_cancelled",
    "job_cancelled",
    "tool_unknown",
)
"""What is recorded when somebody had to be taken a step from, or a call went wrong."""


def begin(client: Client, *, seconds: float = 0.5, jobs: int = JOBS) -> list[Job]:
    """Jobs that are under way, all since the same moment: some of their steps have ended, most have not."""
    errands = client.submit_many("errand", jobs, seconds=seconds)
    until_done(client, errands, 0.2)
    unfinished = Job.objects.filter(pk__in=[job.pk for job in errands]).unfinished()
    assert unfinished.count() > jobs / 2, "this is meant to be the middle"
    return errands


def until_done(client: Client, jobs: list[Job], share: float) -> None:
    """Come back when this share of the steps has ended."""
    steps = Step.objects.filter(job__in=[job.pk for job in jobs])
    wanted = int(steps.count() * share)
    client.until(lambda: steps.filter(status="completed").count() >= wanted, f"{wanted} steps to end")


def assert_untouched(client: Client, jobs: list[Job]) -> None:
    """As if nothing had happened: nobody was rescued, each step was claimed once, each call was sent once."""
    assert not (found := client.events(jobs, *INTERVENTIONS)), f"somebody intervened: {found}"
    more_than_once = Step.objects.filter(job__in=[job.pk for job in jobs], attempt__gt=1)
    assert list(more_than_once.values_list("job", "key", "attempt")) == []
    assert_done_once(client, jobs)
    assert Counter(client.witness.requests(job) for job in jobs) == {CALLS: len(jobs)}


def assert_done_once(client: Client, jobs: list[Job]) -> None:
    """All have ended well, nothing is in doubt, and each call took effect exactly once."""
    assert Counter(job.status for job in jobs) == {JobStatus.COMPLETED: len(jobs)}
    assert client.in_doubt(jobs) == []
    effects = client.witness.effects_by_key()
    calls = [str(entry.idempotency_key) for job in jobs for entry in job.ledger.all()]
    assert len(calls) == CALLS * len(jobs)
    assert Counter(effects.get(key, 0) for key in calls) == {1: len(calls)}
