"""The shapes of what goes in and out. Payloads are shown to those who may see them, and named as withheld to others."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from runtime import clock, history
from runtime.models import Event, Job, LedgerEntry, Schedule, Step, Wait
from runtime.models.schedule import CatchUp, Overlap
from runtime.resolution import VERDICTS
from runtime.states import EntryState

STEPS_SHOWN = 500
MOST_AT_ONCE = 500
"""Jobs in one request."""


@extend_schema_field(OpenApiTypes.ANY)
class AnyJSON(serializers.Field):  # type: ignore[type-arg]
    """Any JSON value; the strict parser has looked at it already."""

    def to_internal_value(self, data: Any) -> Any:
        return data

    def to_representation(self, value: Any) -> Any:
        return value


@extend_schema_field(OpenApiTypes.OBJECT)
class AnyObject(AnyJSON):
    """Any JSON object."""

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, Mapping):
            raise serializers.ValidationError("must be an object", code="not_object")
        return data


@extend_schema_field({"oneOf": [{"type": "number"}, {"type": "string"}]})
class AnyDuration(AnyJSON):
    """Seconds, or a text such as 2h; who uses it checks it."""


class Withheld(serializers.Serializer):  # type: ignore[type-arg]
    """A row with payload columns: without `payloads` in the context they are null, and named in `withheld`."""

    payload_columns: tuple[str, ...] = ()

    def to_representation(self, instance: Any) -> dict[str, Any]:
        shown: dict[str, Any] = super().to_representation(instance)
        if self.context.get("payloads"):
            return {**shown, "withheld": []}
        hidden = [name for name in self.payload_columns if shown[name] is not None]
        return {**shown, **dict.fromkeys(hidden), "withheld": hidden}


# What comes in


class SubmitRequest(serializers.Serializer):  # type: ignore[type-arg]
    """A registered agent by name, or a TaskGraph of your own; one of the two."""

    agent = serializers.CharField(required=False, max_length=200)
    graph = AnyObject(required=False)
    input = AnyJSON(required=False, default=None, allow_null=True)
    queue = serializers.CharField(required=False, max_length=50)
    priority = serializers.IntegerField(
        required=False, default=None, allow_null=True, min_value=-1000, max_value=1000
    )
    timeout = AnyDuration(required=False, default=None, allow_null=True, help_text="Of work: seconds, or 2h.")
    deadline = serializers.DateTimeField(required=False, default=None, allow_null=True)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if ("agent" in attrs) == ("graph" in attrs):
            raise serializers.ValidationError({"agent": "name an agent or bring a graph: one of the two"})
        return attrs


class SubmitOne(SubmitRequest):
    idempotency_key = serializers.CharField(
        required=False,
        default=None,
        allow_null=True,
        max_length=255,
        help_text="As the header of the same name.",
    )


class SubmitMany(serializers.Serializer):  # type: ignore[type-arg]
    jobs = SubmitOne(many=True)


class SubmitAnswer(serializers.Serializer):  # type: ignore[type-arg]
    status = serializers.IntegerField(
        help_text="201 for a new job, 200 for an earlier one, else of the problem."
    )
    id = serializers.UUIDField(allow_null=True)
    problem = serializers.JSONField(allow_null=True, help_text="A problem document.")


class SubmitAnswers(serializers.Serializer):  # type: ignore[type-arg]
    answers = SubmitAnswer(many=True)


class SignalRequest(serializers.Serializer):  # type: ignore[type-arg]
    name = serializers.CharField(max_length=255)
    payload = AnyJSON(required=False, default=None, allow_null=True)
    dedup_id = serializers.CharField(
        required=False,
        default=None,
        allow_null=True,
        max_length=255,
        help_text="The same id twice has one effect.",
    )


class DecisionRequest(serializers.Serializer):  # type: ignore[type-arg]
    decision = serializers.ChoiceField(choices=["approved", "rejected"])
    answer = AnyObject(required=False, default=dict, help_text="Fits the approval's `schema`.")
    comment = serializers.CharField(required=False, default="", allow_blank=True, max_length=10_000)


class OperateRequest(serializers.Serializer):  # type: ignore[type-arg]
    why = serializers.CharField(required=False, default="", allow_blank=True, max_length=2000)


class ResolveRequest(serializers.Serializer):  # type: ignore[type-arg]
    verdict = serializers.ChoiceField(choices=VERDICTS)
    why = serializers.CharField(max_length=2000)
    result = AnyJSON(
        required=False, default=None, allow_null=True, help_text="With `happened`: what the call answered."
    )
    attempt = serializers.IntegerField(
        required=False,
        default=None,
        allow_null=True,
        help_text="The `attempt` of the entry that was looked at: 409 if the call was made again since.",
    )


# What goes out


class JobSummary(serializers.ModelSerializer[Job]):
    paused = serializers.SerializerMethodField()
    compensating_at = serializers.DateTimeField(
        read_only=True, allow_null=True, help_text="Since when what the job did is being undone, or was."
    )

    class Meta:
        model = Job
        fields = (
            "id",
            "agent",
            "agent_version",
            "status",
            "paused",
            "submitted_by",
            "queue",
            "priority",
            "created_at",
            "started_at",
            "finished_at",
            "cancel_requested_at",
            "compensating_at",
            "ready_steps",
            "running_steps",
            "waiting_steps",
            "unfinished_steps",
        )
        read_only_fields = fields

    def get_paused(self, job: Job) -> bool:
        return job.paused_at is not None


class WaitSerializer(Withheld, serializers.ModelSerializer[Wait]):
    step = serializers.CharField(source="step_key")
    withheld = serializers.ListField(child=serializers.CharField(), read_only=True)
    payload_columns = ("prompt",)

    class Meta:
        model = Wait
        fields = (
            "step",
            "kind",
            "name",
            "prompt",
            "schema",
            "approvers",
            "opened_at",
            "deadline_at",
            "closed_at",
            "outcome",
            "withheld",
        )
        read_only_fields = fields


class StepSummary(serializers.ModelSerializer[Step]):
    class Meta:
        model = Step
        fields = (
            "key",
            "kind",
            "status",
            "attempt",
            "failures",
            "max_attempts",
            "branch",
            "waiting_for",
            "queue",
            "run_after",
            "claimed_at",
            "deadline_at",
            "finished_at",
        )
        read_only_fields = fields


class StepDetail(Withheld, serializers.ModelSerializer[Step]):
    withheld = serializers.ListField(child=serializers.CharField(), read_only=True)
    result = AnyJSON(read_only=True, allow_null=True)
    error = AnyJSON(read_only=True, allow_null=True)
    config = AnyObject(read_only=True)
    payload_columns = ("result", "error", "config")

    class Meta:
        model = Step
        fields = (*StepSummary.Meta.fields, "config", "result", "error", "withheld")
        read_only_fields = fields


class ModelUsage(serializers.Serializer):  # type: ignore[type-arg]
    calls = serializers.IntegerField(help_text="Model calls that were answered.")
    input_tokens = serializers.IntegerField()
    cached_tokens = serializers.IntegerField(help_text="Among the input tokens.")
    output_tokens = serializers.IntegerField()
    cost_micros = serializers.IntegerField(
        help_text="By `MODEL_PRICES`, in millionths of their currency; a model without a price counts as 0."
    )


class JobDetail(Withheld, JobSummary):
    input = AnyJSON(read_only=True, allow_null=True)
    result = AnyJSON(read_only=True, allow_null=True)
    error = AnyJSON(read_only=True, allow_null=True)
    withheld = serializers.ListField(child=serializers.CharField(), read_only=True)
    counts = serializers.SerializerMethodField(help_text="Steps by status.")
    steps = serializers.SerializerMethodField(help_text="The first 500; the others at `…/steps`.")
    waits = serializers.SerializerMethodField(help_text="The open ones.")
    usage = serializers.SerializerMethodField(help_text="What its model calls used, as sums.")
    payload_columns = ("input", "result", "error")

    class Meta:
        model = Job
        fields = (
            *JobSummary.Meta.fields,
            "compensate",
            "timeout",
            "overdue_at",
            "deadline_at",
            "graph_digest",
            "seq",
            "input",
            "result",
            "error",
            "withheld",
            "counts",
            "usage",
            "steps",
            "waits",
        )
        read_only_fields = fields

    def get_counts(self, job: Job) -> dict[str, int]:
        return history.counts(job)

    @extend_schema_field(StepSummary(many=True))
    def get_steps(self, job: Job) -> Any:
        return StepSummary(job.steps.for_list()[:STEPS_SHOWN], many=True).data

    @extend_schema_field(WaitSerializer(many=True))
    def get_waits(self, job: Job) -> Any:
        waits = job.waits.filter(closed_at__isnull=True)[:STEPS_SHOWN]
        return WaitSerializer(waits, many=True, context=self.context).data

    @extend_schema_field(ModelUsage)
    def get_usage(self, job: Job) -> Any:
        return job.ledger.usage()


class StepPage(serializers.Serializer):  # type: ignore[type-arg]
    steps = StepSummary(many=True)
    next_after = serializers.IntegerField(allow_null=True, help_text="`after` of the next page.")


class EventSerializer(serializers.ModelSerializer[Event]):
    data = AnyObject(  # type: ignore[assignment]
        read_only=True, help_text="The facts that the state follows from; no payload."
    )
    digest = serializers.SerializerMethodField()
    parts = serializers.SerializerMethodField(
        help_text="Payloads by name; null stands for one that you may not see."
    )

    class Meta:
        model = Event
        fields = ("seq", "type", "at", "step", "attempt", "worker", "call", "data", "digest", "parts")
        read_only_fields = fields

    def get_digest(self, event: Event) -> str:
        return bytes(event.digest).hex()

    def get_parts(self, event: Event) -> dict[str, Any]:
        parts: dict[str, Any] = self.context["parts"].get(event.seq, {})
        return parts


class EventPage(serializers.Serializer):  # type: ignore[type-arg]
    events = EventSerializer(many=True)
    last = serializers.IntegerField(help_text="Number of the job's last event.")
    next_after = serializers.IntegerField(allow_null=True, help_text="`after` of the next page.")


class ApprovalSerializer(WaitSerializer):
    job = serializers.UUIDField(source="job_id")
    agent = serializers.CharField(source="job.agent")

    class Meta:
        model = Wait
        fields = ("job", "agent", *WaitSerializer.Meta.fields)
        read_only_fields = fields


class EntrySummary(serializers.ModelSerializer[LedgerEntry]):
    job = serializers.UUIDField(source="job_id")
    step = serializers.CharField(source="step.key")
    state = serializers.ChoiceField(choices=EntryState.choices)
    policy = AnyObject(read_only=True)

    class Meta:
        model = LedgerEntry
        fields = (
            "id",
            "job",
            "step",
            "call",
            "generation",
            "kind",
            "name",
            "state",
            "attempt",
            "calls",
            "idempotency_key",
            "provider",
            "external_id",
            "answer_by",
            "policy",
            "source",
            "started_at",
            "settled_at",
            "resolved_by",
        )
        read_only_fields = fields


class EntryDetail(Withheld, EntrySummary):
    arguments = AnyJSON(read_only=True, allow_null=True)
    result = AnyJSON(read_only=True, allow_null=True)
    error = AnyJSON(read_only=True, allow_null=True)
    withheld = serializers.ListField(child=serializers.CharField(), read_only=True)
    payload_columns = ("arguments", "result", "error", "resolved_why")

    class Meta:
        model = LedgerEntry
        fields = (*EntrySummary.Meta.fields, "resolved_why", "arguments", "result", "error", "withheld")
        read_only_fields = fields


class SignalAnswer(serializers.Serializer):  # type: ignore[type-arg]
    duplicate = serializers.BooleanField(help_text="Whether a signal of this dedup_id had its effect before.")


class ScheduleRequest(serializers.Serializer):  # type: ignore[type-arg]
    """Either `cron` or `every`."""

    agent = serializers.CharField(max_length=200)
    name = serializers.CharField(
        required=False, default="", max_length=100, help_text="The agent's where none is given."
    )
    cron = serializers.CharField(required=False, default="", max_length=400, help_text="Five fields.")
    every = AnyDuration(required=False, default=None, allow_null=True, help_text="Seconds, or 15m.")
    timezone = serializers.CharField(required=False, default="UTC", max_length=63)
    input = AnyJSON(required=False, default=None, allow_null=True)
    queue = serializers.CharField(required=False, default=None, allow_null=True, max_length=50)
    priority = serializers.IntegerField(
        required=False, default=None, allow_null=True, min_value=-1000, max_value=1000
    )
    overlap = serializers.ChoiceField(choices=Overlap.choices, default=Overlap.SKIP)
    catch_up = serializers.ChoiceField(choices=CatchUp.choices, default=CatchUp.LAST)


class ScheduleSerializer(Withheld, serializers.ModelSerializer[Schedule]):
    name = serializers.CharField(read_only=True)
    timing = serializers.CharField(read_only=True)
    enabled = serializers.BooleanField(source="is_enabled", read_only=True)
    next_at = serializers.SerializerMethodField()
    last_job = serializers.UUIDField(source="last_job_id", read_only=True, allow_null=True)
    input = AnyJSON(read_only=True, allow_null=True)
    withheld = serializers.ListField(child=serializers.CharField(), read_only=True)
    payload_columns = ("input",)

    class Meta:
        model = Schedule
        fields = (
            "name",
            "agent",
            "timing",
            "enabled",
            "next_at",
            "last_tick_at",
            "last_job",
            "last_error",
            "overlap",
            "catch_up",
            "queue",
            "priority",
            "is_declared",
            "input",
            "withheld",
        )
        read_only_fields = fields

    def get_next_at(self, schedule: Schedule) -> datetime | None:
        return schedule.tick_after(clock.now()) if schedule.is_enabled else None


class WebhookAnswer(serializers.Serializer):  # type: ignore[type-arg]
    event = serializers.CharField(help_text="The id of the event, as it was received.")


class CallbackAnswer(serializers.Serializer):  # type: ignore[type-arg]
    state = serializers.ChoiceField(choices=EntryState.choices, help_text="What is known of the call now.")


class AgentSummary(serializers.Serializer):  # type: ignore[type-arg]
    name = serializers.CharField()
    version = serializers.CharField()
    description = serializers.CharField()


class AgentDetail(AgentSummary):
    graph = AnyObject()


class ToolSerializer(serializers.Serializer):  # type: ignore[type-arg]
    name = serializers.CharField()
    version = serializers.CharField()
    description = serializers.CharField()
    arguments = AnyObject(source="arguments_schema", help_text="JSON Schema of the arguments.")
    read_only_effect = serializers.BooleanField(source="policy.read_only")
    idempotent = serializers.BooleanField(source="policy.idempotent")
    timeout = serializers.FloatField(source="policy.timeout", help_text="Seconds that one call may take.")


class ProblemKind(serializers.Serializer):  # type: ignore[type-arg]
    slug = serializers.CharField()
    status = serializers.IntegerField()
    title = serializers.CharField()
    remedy = serializers.CharField()
