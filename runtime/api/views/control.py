"""Beside single jobs: forks, many jobs at once, agents and queues that rest."""

from dataclasses import asdict
from typing import Any, ClassVar
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response

from runtime import bulk, forks, holds, permissions
from runtime.api import control
from runtime.api.serializers import OperateRequest
from runtime.api.views.base import View, checked, job_of, require
from runtime.models import Hold
from runtime.models.hold import HoldKind

SECONDS_OF_A_REQUEST = 5.0


class Fork(View):
    @extend_schema(
        operation_id="jobs_fork",
        request=control.ForkRequest,
        responses={200: control.ForkAnswer, 201: control.ForkAnswer},
    )
    def post(self, request: Request, job_id: UUID) -> Response:
        """A new job from a step on, with the results before it. First a dry run: which effects may happen again."""
        job = job_of(request, job_id, without=())
        require(request, "runtime.operate_job")
        asked = checked(control.ForkRequest, request)
        step, why = asked.pop("step"), asked.pop("why")
        planned = _planned(request, job, step)
        if asked.pop("dry_run"):
            return Response(planned)
        if not permissions.sees_payloads(request.user, job):
            raise PermissionDenied("A fork is yours, with what was recorded before it: you may not see that.")
        begun = forks.fork(job, step, by=permissions.principal(request.user), why=why, **asked)
        return Response(control.ForkAnswer({**planned, "job": begun}).data, status=201)


def _planned(request: Request, job: Any, step: str) -> dict[str, Any]:
    plan = asdict(forks.plan(job, step))
    if not permissions.sees_payloads(request.user, job):
        plan["effects"] = [{**effect, "arguments": None} for effect in plan["effects"]]
    elif plan["effects"]:
        permissions.note_payload_view(request.user, job.pk, f"fork from {step}")
    return {"plan": plan, "job": None}


class Bulk(View):
    @extend_schema(
        operation_id="bulk_begin",
        request=control.BulkRequest,
        responses={200: control.BulkAnswer, 201: control.BulkAnswer},
    )
    def post(self, request: Request) -> Response:
        """One verb for many jobs. First a dry run: how many, and the first of them.

        A request works for some seconds; while `finished_at` is null, `…/continue` goes on.
        """
        _require_all(request)
        read = control.BulkRequest(data=request.data)
        read.is_valid(raise_exception=True)
        asked, wanted = read.validated_data, read.filter_of()
        seen = bulk.preview(asked["verb"], wanted)
        answer: dict[str, Any] = {"count": seen.count, "sample": seen.sample, "operation": None}
        if not asked["dry_run"]:
            by = permissions.principal(request.user)
            begun = bulk.begin(asked["verb"], wanted, by=by, why=asked["why"])
            answer["operation"] = bulk.go_on(begun, seconds=SECONDS_OF_A_REQUEST)
        return Response(control.BulkAnswer(answer).data, status=200 if asked["dry_run"] else 201)


class OneBulk(View):
    @extend_schema(operation_id="bulk_get", responses=control.BulkShape)
    def get(self, request: Request, operation_id: UUID) -> Response:
        """How far an operation is, and which jobs refused."""
        _require_all(request)
        return Response(control.BulkShape(bulk.find(operation_id)).data)


class ContinueBulk(View):
    @extend_schema(operation_id="bulk_continue", request=None, responses=control.BulkShape)
    def post(self, request: Request, operation_id: UUID) -> Response:
        """Go on where the operation stopped, for some seconds."""
        _require_all(request)
        operation = bulk.go_on(bulk.find(operation_id), seconds=SECONDS_OF_A_REQUEST)
        return Response(control.BulkShape(operation).data)


def _require_all(request: Request) -> None:
    """Many jobs are chosen among all jobs, so one must see all of them."""
    require(request, "runtime.view_job")
    require(request, "runtime.operate_job")


class Holds(View):
    @extend_schema(operation_id="holds_list", responses=control.HoldShape(many=True))
    def get(self, request: Request) -> Response:
        """The agents and queues that rest."""
        require(request, "runtime.view_job")
        return Response(control.HoldShape(Hold.objects.active(), many=True).data)


class Rest(View):
    kind: ClassVar[HoldKind]

    def begin(self, request: Request, name: str) -> Response:
        return self._act(request, name, holds.begin)

    def end(self, request: Request, name: str) -> Response:
        return self._act(request, name, holds.end)

    def _act(self, request: Request, name: str, verb: Any) -> Response:
        require(request, "runtime.operate_job")
        why = checked(OperateRequest, request)["why"]
        held = verb(self.kind, name, by=permissions.principal(request.user), why=why)
        return Response(control.HoldShape(held).data)


class PauseAgent(Rest):
    kind = HoldKind.AGENT

    @extend_schema(operation_id="agents_pause", request=OperateRequest, responses=control.HoldShape)
    def post(self, request: Request, name: str) -> Response:
        """Nothing of the agent is claimed until it is resumed; what runs finishes."""
        return self.begin(request, name)


class ResumeAgent(Rest):
    kind = HoldKind.AGENT

    @extend_schema(operation_id="agents_resume", request=OperateRequest, responses=control.HoldShape)
    def post(self, request: Request, name: str) -> Response:
        """Let the agent go on."""
        return self.end(request, name)


class PauseQueue(Rest):
    kind = HoldKind.QUEUE

    @extend_schema(operation_id="queues_pause", request=OperateRequest, responses=control.HoldShape)
    def post(self, request: Request, name: str) -> Response:
        """Nothing of the queue is claimed until it is resumed; what runs finishes."""
        return self.begin(request, name)


class ResumeQueue(Rest):
    kind = HoldKind.QUEUE

    @extend_schema(operation_id="queues_resume", request=OperateRequest, responses=control.HoldShape)
    def post(self, request: Request, name: str) -> Response:
        """Let the queue go on."""
        return self.end(request, name)
