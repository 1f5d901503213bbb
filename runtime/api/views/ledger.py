"""The ledger: what was done outside, and settling what is in doubt."""

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response

from runtime import permissions, resolution
from runtime.api import serializers
from runtime.api.views.base import NewestFirst, View, checked, job_of, require, uuid_of
from runtime.api.views.jobs import LIMIT
from runtime.exceptions import InputInvalid
from runtime.states import EntryState


class Ledger(View):
    pagination_class = NewestFirst

    @extend_schema(
        operation_id="ledger_list",
        parameters=[
            OpenApiParameter("state", str, enum=EntryState.values),
            OpenApiParameter("job", str),
            OpenApiParameter("cursor", str),
            LIMIT,
        ],
        responses=serializers.EntrySummary(many=True),
    )
    def get(self, request: Request) -> Response:
        """Intended effects, newest first; `state=unknown` are those that wait for a person."""
        entries = permissions.visible_entries(request.user).for_list()
        if state := request.query_params.get("state"):
            if state not in EntryState.values:
                raise InputInvalid("state", f"must be one of {', '.join(EntryState.values)}")
            entries = entries.filter(state=state)
        if job := request.query_params.get("job"):
            entries = entries.filter(job=job_of(request, uuid_of(job, "job")))
        return NewestFirst().page_of(
            entries, request, self, lambda rows: serializers.EntrySummary(rows, many=True).data
        )


class Resolve(View):
    @extend_schema(
        operation_id="ledger_resolve",
        request=serializers.ResolveRequest,
        responses=serializers.EntryDetail,
    )
    def post(self, request: Request, entry_id: int) -> Response:
        """Say whether a call of unknown outcome happened. Who and why become part of the job's events."""
        entry = (
            permissions.visible_entries(request.user)
            .select_related("step", "job")
            .filter(pk=entry_id)
            .first()
        )
        if entry is None:
            raise NotFound(f"There is no ledger entry {entry_id}.")
        require(request, "runtime.operate_job")
        asked = checked(serializers.ResolveRequest, request)
        by = permissions.principal(request.user)
        resolution.resolve(
            entry,
            asked["verdict"],
            by=by,
            why=asked["why"],
            result=asked["result"],
            attempt=asked["attempt"],
        )
        return Response(
            serializers.EntryDetail(
                entry, context={"payloads": permissions.sees_payloads(request.user, entry.job)}
            ).data
        )
