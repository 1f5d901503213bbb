"""A job's past: its state after an event, and what differs between two of them or between two jobs.

Here is only what reads rows. To verify a job is to run its steps again, and a process that answers requests is no
place for the code of agents: it takes memory and time as it likes.
"""

from typing import Any
from uuid import UUID

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from runtime import diffs, permissions, snapshots
from runtime.api import past
from runtime.api.views.base import View, job_of, number, uuid_of
from runtime.api.views.jobs import LAST
from runtime.exceptions import InputInvalid
from runtime.fold import JobState
from runtime.models import Job

MOST_PAYLOADS = 500
"""Steps and calls of which a diff tells the payloads; where there are more, it tells what became of them alone."""


class State(View):
    @extend_schema(
        operation_id="jobs_state",
        parameters=[OpenApiParameter("seq", int, description="The event; the last one if not given.")],
        responses=past.StateShape,
    )
    def get(self, request: Request, job_id: UUID) -> Response:
        """The state after one of its events, from the events alone. 0 is before the first."""
        job = job_of(request, job_id)
        return Response(state_json(job, state(job, number(request, "seq", job.seq, LAST))))


class Diff(View):
    @extend_schema(
        operation_id="jobs_diff",
        parameters=[
            OpenApiParameter("from", int, description="An event; 0, before the first, if not given."),
            OpenApiParameter("to", int, description="An event; the last one if not given."),
            OpenApiParameter("other", UUID, description="Instead of events: another job, such as a fork."),
        ],
        responses=past.DiffShape,
    )
    def get(self, request: Request, job_id: UUID) -> Response:
        """What differs between two states of the job, or between the job and another one."""
        job, asked = job_of(request, job_id), request.query_params
        if "other" not in asked:
            before, after = number(request, "from", 0, LAST), number(request, "to", job.seq, LAST)
            return Response(between(request.user, job, before, after))
        if "from" in asked or "to" in asked:
            raise InputInvalid("other", "compares whole jobs: leave out `from` and `to`")
        other = job_of(request, uuid_of(asked["other"], "other"))
        return Response(of_jobs(request.user, job, other))


def state(job: Job, seq: int) -> JobState:
    """Raises `InputInvalid` for an event that is not."""
    if seq > job.seq:
        raise InputInvalid("seq", f"job {job.pk} has the events 1 to {job.seq}, not {seq}")
    return snapshots.state_at(job, seq)


def state_json(job: Job, state: JobState) -> dict[str, Any]:
    return {"job": str(job.pk), "events": job.seq} | state.as_json()


def between(user: Any, job: Job, before: int, after: int) -> dict[str, Any]:
    """As `jobs_diff` shows it to a user."""
    low, high = sorted((before, after))
    count = job.events.filter(type="step_completed", seq__gt=low, seq__lte=high).count()
    payloads = count <= MOST_PAYLOADS and _looks(user, job, f"diff {before}..{after}")
    return _told(diffs.between(job, before, after, payloads=payloads), payloads)


def of_jobs(user: Any, one: Job, other: Job) -> dict[str, Any]:
    count = sum(job.steps.filter(status="completed").count() + job.ledger.count() for job in (one, other))
    payloads = count <= MOST_PAYLOADS and all(_looks(user, job, "diff of jobs") for job in (one, other))
    return _told(diffs.of_jobs(one, other, payloads=payloads), payloads)


def _looks(user: Any, job: Job, what: str) -> bool:
    allowed = permissions.sees_payloads(user, job)
    if allowed:
        permissions.note_payload_view(user, job.pk, what)
    return allowed


def _told(diff: diffs.Diff, payloads: bool) -> dict[str, Any]:
    told = diff.as_json(payloads=payloads)
    hidden = [] if payloads else ["results", "calls"]
    return told | dict.fromkeys(hidden) | {"withheld": hidden}
