"""Approvals: the inbox, and deciding."""

from typing import Any
from uuid import UUID

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.exceptions import NotFound, PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response

from runtime import approvals, permissions
from runtime.api import serializers
from runtime.api.views.base import NewestFirst, View, checked, job_of
from runtime.api.views.jobs import LIMIT
from runtime.models import Wait


class Inbox(View):
    pagination_class = NewestFirst

    @extend_schema(
        operation_id="approvals_list",
        parameters=[OpenApiParameter("cursor", str), LIMIT],
        responses=serializers.ApprovalSerializer(many=True),
    )
    def get(self, request: Request) -> Response:
        """The open approvals that you may decide, newest first."""
        waits = permissions.decidable(request.user).for_list()

        def shown(rows: list[Wait]) -> Any:
            return serializers.ApprovalSerializer(rows, many=True, context={"payloads": True}).data

        return NewestFirst().page_of(waits, request, self, shown)


class Decide(View):
    @extend_schema(
        operation_id="approvals_decide",
        request=serializers.DecisionRequest,
        responses=serializers.WaitSerializer,
    )
    def post(self, request: Request, job_id: UUID, step: str) -> Response:
        """Approve or reject in your own name. The same decision twice answers the same."""
        job = job_of(request, job_id)
        asked = checked(serializers.DecisionRequest, request)
        wait = job.waits.filter(kind="approval", step_key=step).order_by("-id").first()
        if wait is None:
            raise NotFound(f"Step {step!r} of job {job_id} has not asked for an approval.")
        if not approvals.may_decide(wait, request.user):
            raise PermissionDenied(
                "This approval is not yours to decide: `approvers` of the wait says whose it is, "
                "and without them it takes the permission runtime.decide_approval."
            )
        decided = approvals.decide(
            job,
            step,
            approve=asked["decision"] == "approved",
            user=request.user,  # type: ignore[arg-type]
            answer=asked["answer"],
            comment=asked["comment"],
        )
        return Response(serializers.WaitSerializer(decided, context={"payloads": True}).data)
