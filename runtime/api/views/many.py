"""Submitting many jobs at once."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from runtime import permissions, planning
from runtime.api import problems, serializers
from runtime.api.views.base import View, require
from runtime.exceptions import IdempotencyConflict, InputInvalid
from runtime.models import Job


class SubmitMany(View):
    @extend_schema(
        operation_id="jobs_submit_many",
        request=serializers.SubmitMany,
        responses=serializers.SubmitAnswers,
    )
    def post(self, request: Request) -> Response:
        """Start many jobs. Each is answered in its place, with its id or with the problem that refused it alone."""
        require(request, "runtime.submit_job")
        answers: list[Any] = [_read(one) for one in _wanted(request.data)]
        sound = [place for place, one in enumerate(answers) if isinstance(one, dict)]
        begun = planning.submit_many(
            [answers[place] for place in sound], by=permissions.principal(request.user)
        )
        for place, answer in zip(sound, begun, strict=True):
            answers[place] = answer
        visible = _visible_repeats(request, answers)
        return Response({"answers": [_answer(one, visible, request) for one in answers]})


def _wanted(data: Any) -> list[Any]:
    jobs = data.get("jobs") if isinstance(data, dict) else None
    if not isinstance(jobs, list) or not 1 <= len(jobs) <= serializers.MOST_AT_ONCE:
        raise InputInvalid("jobs", f"must be a list of 1 to {serializers.MOST_AT_ONCE} requests")
    return jobs


def _read(one: Any) -> dict[str, Any] | ValidationError:
    read = serializers.SubmitOne(data=one)
    return dict(read.validated_data) if read.is_valid() else ValidationError(read.errors)


def _visible_repeats(request: Request, answers: list[Any]) -> set[Any]:
    repeats = [job.pk for job in answers if isinstance(job, Job) and job.is_repeat]
    if not repeats:
        return set()
    return set(permissions.visible_jobs(request.user).filter(pk__in=repeats).values_list("pk", flat=True))


def _answer(one: Any, visible: set[Any], request: Request) -> dict[str, Any]:
    if isinstance(one, Job) and one.is_repeat and one.pk not in visible:
        one = IdempotencyConflict(str(one.idempotency_key), "of somebody else")
    if isinstance(one, Job):
        return {"status": 200 if one.is_repeat else 201, "id": one.pk, "problem": None}
    mapped = problems.mapped_to(one)
    assert mapped is not None, "whatever refuses a job is in the table"
    return {"status": int(mapped.kind.status), "id": None, "problem": problems.body(mapped, request)}
