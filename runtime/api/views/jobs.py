"""Jobs: submit, list, look, signal, cancel, pause, resume, retry, adopt."""

from collections.abc import Callable
from datetime import UTC
from typing import Any
from uuid import UUID

from django.core.exceptions import ValidationError
from django_filters import rest_framework as filters
from django_filters.fields import IsoDateTimeField
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from runtime import history, permissions, planning
from runtime.api import serializers
from runtime.api.views.base import NewestFirst, View, checked, job_of, number, require
from runtime.exceptions import IdempotencyConflict, InputInvalid, StepNotFound
from runtime.models import Job
from runtime.states import JobStatus

LAST = 2**62

AFTER = OpenApiParameter("after", int, description="Only what follows this one.")
LIMIT = OpenApiParameter("limit", int, description="How many at most.")


class MomentField(IsoDateTimeField):  # type: ignore[misc]
    """In UTC, where the calendar has it there."""

    def clean(self, value: Any) -> Any:
        moment = super().clean(value)
        try:
            return moment.astimezone(UTC) if moment else moment
        except OverflowError:
            raise ValidationError(self.error_messages["invalid"], code="invalid") from None


class MomentFilter(filters.IsoDateTimeFilter):  # type: ignore[misc]
    field_class = MomentField


class JobFilter(filters.FilterSet):  # type: ignore[misc]
    status = filters.MultipleChoiceFilter(choices=JobStatus.choices)
    agent = filters.CharFilter()
    submitted_by = filters.CharFilter()
    created_after = MomentFilter(field_name="created_at", lookup_expr="gte")
    created_before = MomentFilter(field_name="created_at", lookup_expr="lt")

    class Meta:
        model = Job
        fields = ("status", "agent", "submitted_by")


class Jobs(View):
    filterset_class = JobFilter
    pagination_class = NewestFirst

    @extend_schema(
        operation_id="jobs_list",
        parameters=[
            OpenApiParameter("status", str, enum=JobStatus.values, many=True),
            OpenApiParameter("agent", str),
            OpenApiParameter("submitted_by", str),
            OpenApiParameter("created_after", str, description="ISO 8601."),
            OpenApiParameter("created_before", str, description="ISO 8601."),
            OpenApiParameter("cursor", str, description="From `next` or `previous`."),
            LIMIT,
        ],
        responses=serializers.JobSummary(many=True),
    )
    def get(self, request: Request) -> Response:
        """The jobs that you may see, newest first. Payloads are not part of a list."""
        jobs = permissions.visible_jobs(request.user).for_list()
        found = JobFilter(request.query_params, queryset=jobs, request=request)
        if not found.is_valid():
            raise InputInvalid(*_first_fault(found.errors))
        return NewestFirst().page_of(
            found.qs, request, self, lambda rows: serializers.JobSummary(rows, many=True).data
        )

    @extend_schema(
        operation_id="jobs_submit",
        request=serializers.SubmitRequest,
        parameters=[
            OpenApiParameter(
                "Idempotency-Key",
                str,
                OpenApiParameter.HEADER,
                description="The same key answers with the first job.",
            )
        ],
        responses={201: serializers.JobDetail, 200: serializers.JobDetail},
    )
    def post(self, request: Request) -> Response:
        """Start a job. 201 for a new one; 200 with the first one where the key was used for the same request."""
        require(request, "runtime.submit_job")
        asked = checked(serializers.SubmitRequest, request)
        key = request.headers.get("Idempotency-Key")
        if key is not None and not key.isascii():
            raise InputInvalid("Idempotency-Key", "must be ASCII")
        job = planning.submit(
            asked.get("agent"),
            asked["input"],
            graph=asked.get("graph"),
            idempotency_key=key,
            by=permissions.principal(request.user),
            queue=asked.get("queue"),
            priority=asked["priority"],
            timeout=asked["timeout"],
            deadline=asked["deadline"],
        )
        if job.is_repeat and not permissions.visible_jobs(request.user).filter(pk=job.pk).exists():
            raise IdempotencyConflict(str(key), "of somebody else")
        shown = detail(request.user, Job.objects.get(pk=job.pk))
        return Response(shown, status=200 if job.is_repeat else 201)


class OneJob(View):
    @extend_schema(operation_id="jobs_get", responses=serializers.JobDetail)
    def get(self, request: Request, job_id: UUID) -> Response:
        """One job with its first steps, its open waits, and its steps counted by status."""
        return Response(detail(request.user, job_of(request, job_id, without=())))


class Steps(View):
    @extend_schema(operation_id="jobs_steps", parameters=[AFTER, LIMIT], responses=serializers.StepPage)
    def get(self, request: Request, job_id: UUID) -> Response:
        """The steps in topological order, in pages."""
        job = job_of(request, job_id)
        limit = number(request, "limit", 100, 1000)
        steps = list(job.steps.for_list().filter(pk__gt=number(request, "after", 0, LAST))[: limit + 1])
        more = len(steps) > limit
        steps = steps[:limit]
        shown = serializers.StepSummary(steps, many=True).data
        return Response({"steps": shown, "next_after": steps[-1].pk if more and steps else None})


class OneStep(View):
    @extend_schema(operation_id="jobs_step", responses=serializers.StepDetail)
    def get(self, request: Request, job_id: UUID, key: str) -> Response:
        """One step, with its result or error."""
        job = job_of(request, job_id)
        step = job.steps.filter(key=key).first()
        if step is None:
            raise StepNotFound(f"{key} in job {job_id}")
        return Response(serializers.StepDetail(step, context=_context(request.user, job, f"step {key}")).data)


class Events(View):
    @extend_schema(operation_id="jobs_events", parameters=[AFTER, LIMIT], responses=serializers.EventPage)
    def get(self, request: Request, job_id: UUID) -> Response:
        """What happened, in order. Poll with `after` set to the last number you have."""
        job = job_of(request, job_id)
        after = number(request, "after", 0, LAST)
        context = _context(request.user, job, f"events after {after}")
        page = history.events_after(
            job, after, number(request, "limit", 100, 500) or 1, payloads=context["payloads"]
        )
        shown = serializers.EventSerializer(page.events, many=True, context={"parts": page.parts}).data
        return Response({"events": shown, "last": job.seq, "next_after": page.next_after})


class JobGraph(View):
    @extend_schema(operation_id="jobs_graph", responses={200: {"type": "object", "additionalProperties": {}}})
    def get(self, request: Request, job_id: UUID) -> Response:
        """The TaskGraph that the job runs; its outline, without inputs and prompts, where you may not see payloads."""
        job = job_of(request, job_id)
        graph = history.graph_of(job)
        shown = graph if _context(request.user, job, "graph")["payloads"] else history.outline(graph)
        return Response(shown)


class Signals(View):
    @extend_schema(
        operation_id="jobs_signal",
        request=serializers.SignalRequest,
        responses={202: serializers.SignalAnswer},
    )
    def post(self, request: Request, job_id: UUID) -> Response:
        """Deliver a signal. One that comes before its wait is kept for it."""
        job = job_of(request, job_id)
        if not permissions.may_signal(request.user, job):
            require(request, "runtime.operate_job")
        asked = checked(serializers.SignalRequest, request)
        fresh = job.signal(
            asked["name"],
            asked["payload"],
            dedup_id=asked["dedup_id"],
            sender=permissions.principal(request.user),
        )
        return Response({"duplicate": not fresh}, status=202)


class Operate(View):
    """The verbs of operators, told apart by the class that an address names."""

    def operate(self, request: Request, job_id: UUID, verb: Callable[..., None]) -> Response:
        job = job_of(request, job_id)
        require(request, "runtime.operate_job")
        why = checked(serializers.OperateRequest, request)["why"]
        verb(job, by=permissions.principal(request.user), why=why)
        return Response(serializers.JobSummary(job).data)


class Cancel(Operate):
    @extend_schema(
        operation_id="jobs_cancel", request=serializers.OperateRequest, responses=serializers.JobSummary
    )
    def post(self, request: Request, job_id: UUID) -> Response:
        """Ask the job to end; what runs is told. Asking twice is the same as once."""
        return self.operate(request, job_id, Job.cancel)


class Pause(Operate):
    @extend_schema(
        operation_id="jobs_pause", request=serializers.OperateRequest, responses=serializers.JobSummary
    )
    def post(self, request: Request, job_id: UUID) -> Response:
        """Let running steps finish and start nothing new."""
        return self.operate(request, job_id, Job.pause)


class Resume(Operate):
    @extend_schema(
        operation_id="jobs_resume", request=serializers.OperateRequest, responses=serializers.JobSummary
    )
    def post(self, request: Request, job_id: UUID) -> Response:
        """Go on after a pause."""
        return self.operate(request, job_id, Job.resume)


class Retry(Operate):
    @extend_schema(
        operation_id="jobs_retry", request=serializers.OperateRequest, responses=serializers.JobSummary
    )
    def post(self, request: Request, job_id: UUID) -> Response:
        """Reopen a failed job from what failed; what completed stays, and no recorded effect is repeated."""
        return self.operate(request, job_id, Job.retry)


class Adopt(Operate):
    @extend_schema(
        operation_id="jobs_adopt", request=serializers.OperateRequest, responses=serializers.JobSummary
    )
    def post(self, request: Request, job_id: UUID) -> Response:
        """Go on with the code that this process has, where steps are held for that which the job began with."""
        return self.operate(request, job_id, Job.adopt)


def detail(user: Any, job: Job) -> dict[str, Any]:
    """A job as `jobs_get` shows it to a user."""
    return dict(serializers.JobDetail(job, context=_context(user, job, "job")).data)


def _context(user: Any, job: Job, what: str) -> dict[str, Any]:
    payloads = permissions.sees_payloads(user, job)
    if payloads:
        permissions.note_payload_view(user, job.pk, what)
    return {"payloads": payloads}


def _first_fault(errors: Any) -> tuple[str, str]:
    field, messages = next(iter(errors.items()))
    return str(field), str(messages[0])
