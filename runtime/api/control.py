"""The shapes of what operators ask for beside single jobs: forks, many jobs at once, agents and queues that rest."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from runtime.api.serializers import AnyJSON, AnyObject, JobSummary
from runtime.bulk import MOST_IDS, Filter
from runtime.models import BulkOperation, Hold
from runtime.models.bulk import BulkVerb
from runtime.states import JobStatus

DRY_RUN = "True, as without it: only say what would be done."


class ForkRequest(serializers.Serializer):  # type: ignore[type-arg]
    step = serializers.CharField(max_length=255)
    input = AnyJSON(required=False, help_text="Another input of the job.")
    step_input = AnyObject(required=False, help_text="Other inputs of the step: those that differ.")
    why = serializers.CharField(required=False, default="", allow_blank=True, max_length=2000)
    dry_run = serializers.BooleanField(required=False, default=True, help_text=DRY_RUN)


class EffectAgain(serializers.Serializer):  # type: ignore[type-arg]
    step = serializers.CharField()
    tool = serializers.CharField()
    state = serializers.CharField()
    arguments = AnyJSON(allow_null=True, help_text="Null where you may not see payloads.")


class ForkPlanShape(serializers.Serializer):  # type: ignore[type-arg]
    step = serializers.CharField()
    copied = serializers.ListField(
        child=serializers.CharField(), help_text="Steps whose results are taken over."
    )
    again = serializers.ListField(child=serializers.CharField(), help_text="Steps that run.")
    effects = EffectAgain(many=True, help_text="What may happen outside a second time.")


class ForkAnswer(serializers.Serializer):  # type: ignore[type-arg]
    plan = ForkPlanShape()
    job = JobSummary(allow_null=True, help_text="The new job, unless this was a dry run.")


class BulkFilter(serializers.Serializer):  # type: ignore[type-arg]
    """Which jobs, of those that can take the verb. At least one of the fields."""

    agent = serializers.CharField(required=False, max_length=200)
    queue = serializers.CharField(required=False, max_length=50)
    status = serializers.ListField(child=serializers.ChoiceField(JobStatus.choices), required=False)
    older_than = serializers.CharField(required=False, max_length=64, help_text="Such as `2h`.")
    ids = serializers.ListField(
        child=serializers.UUIDField(),
        required=False,
        max_length=MOST_IDS,
        help_text="These jobs, whether they can take the verb or not.",
    )


class BulkRequest(serializers.Serializer):  # type: ignore[type-arg]
    verb = serializers.ChoiceField(BulkVerb.choices)
    filter = BulkFilter()
    why = serializers.CharField(required=False, default="", allow_blank=True, max_length=2000)
    dry_run = serializers.BooleanField(required=False, default=True, help_text=DRY_RUN)

    def filter_of(self) -> Filter:
        given = self.validated_data["filter"]
        return Filter(
            agent=given.get("agent"),
            queue=given.get("queue"),
            status=tuple(given.get("status", ())),
            older_than=given.get("older_than"),
            ids=tuple(given["ids"]) if "ids" in given else None,
        )


class Refusal(serializers.Serializer):  # type: ignore[type-arg]
    job = serializers.UUIDField()
    reason = serializers.CharField()


class BulkShape(serializers.ModelSerializer[BulkOperation]):
    refusals = serializers.SerializerMethodField(help_text="The first thousand.")

    class Meta:
        model = BulkOperation
        fields = (
            "id",
            "verb",
            "by",
            "why",
            "begun_at",
            "finished_at",
            "total",
            "done",
            "refused",
            "refusals",
        )
        read_only_fields = fields

    @extend_schema_field(Refusal(many=True))
    def get_refusals(self, operation: BulkOperation) -> Any:
        return operation.refusals


class BulkAnswer(serializers.Serializer):  # type: ignore[type-arg]
    count = serializers.IntegerField(help_text="How many jobs.")
    sample = JobSummary(many=True, help_text="The first of them.")
    operation = BulkShape(allow_null=True, help_text="How far it is, unless this was a dry run.")


class HoldShape(serializers.ModelSerializer[Hold]):
    class Meta:
        model = Hold
        fields = ("kind", "name", "by", "why", "held_at", "released_by", "released_why", "released_at")
        read_only_fields = fields
