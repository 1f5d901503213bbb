"""Schedules: which there are, making one, and letting it rest, go on, or run now."""

from collections.abc import Callable
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from runtime import permissions, schedules
from runtime.api import serializers
from runtime.api.views.base import View, checked, require
from runtime.api.views.jobs import detail
from runtime.models import Job, Schedule
from runtime.timetables import Scheduled


class Schedules(View):
    @extend_schema(operation_id="schedules_list", responses=serializers.ScheduleSerializer(many=True))
    def get(self, request: Request) -> Response:
        """All schedules, by name."""
        require(request, "runtime.view_schedule")
        return Response([_shown(request, row) for row in Schedule.objects.with_timing()])

    @extend_schema(
        operation_id="schedules_add",
        request=serializers.ScheduleRequest,
        responses=serializers.ScheduleSerializer,
    )
    def post(self, request: Request) -> Response:
        """Make a schedule, or change the one of this name."""
        require(request, "runtime.operate_job")
        require(request, "runtime.submit_job")
        asked = checked(serializers.ScheduleRequest, request)
        agent = asked.pop("agent")
        made = schedules.add(agent, Scheduled(**asked), by=permissions.principal(request.user))
        return Response(_shown(request, made))


class OneSchedule(View):
    @extend_schema(operation_id="schedules_get", responses=serializers.ScheduleSerializer)
    def get(self, request: Request, name: str) -> Response:
        """A schedule, and when it ticks next."""
        require(request, "runtime.view_schedule")
        return Response(_shown(request, schedules.named(name)))

    @extend_schema(operation_id="schedules_remove", responses={204: None})
    def delete(self, request: Request, name: str) -> Response:
        """Remove a schedule. Its jobs stay."""
        require(request, "runtime.operate_job")
        schedules.remove(schedules.named(name))
        return Response(status=204)


class Operate(View):
    def operate(self, request: Request, name: str, verb: Callable[[Schedule], Any]) -> Response:
        require(request, "runtime.operate_job")
        verb(schedules.named(name))
        return Response(_shown(request, schedules.named(name)))


class Pause(Operate):
    @extend_schema(operation_id="schedules_pause", request=None, responses=serializers.ScheduleSerializer)
    def post(self, request: Request, name: str) -> Response:
        """No tick begins a job until it is resumed; those meanwhile are not made up for."""
        return self.operate(request, name, schedules.pause)


class Resume(Operate):
    @extend_schema(operation_id="schedules_resume", request=None, responses=serializers.ScheduleSerializer)
    def post(self, request: Request, name: str) -> Response:
        """Let it tick again, from the next tick on."""
        return self.operate(request, name, schedules.resume)


class Run(View):
    @extend_schema(operation_id="schedules_run", request=None, responses={201: serializers.JobDetail})
    def post(self, request: Request, name: str) -> Response:
        """A job of it now, beside its ticks. It is yours, and so you may see the input: hence `view_payload`."""
        for permission in ("runtime.operate_job", "runtime.submit_job", "runtime.view_payload"):
            require(request, permission)
        by = permissions.principal(request.user)
        job = schedules.run_now(schedules.named(name), by=by)
        return Response(detail(request.user, Job.objects.get(pk=job.pk)), status=201)


def _shown(request: Request, schedule: Schedule) -> dict[str, Any]:
    payloads = request.user.has_perm("runtime.view_payload")
    return dict(serializers.ScheduleSerializer(schedule, context={"payloads": payloads}).data)
