"""The shapes of a job's past: a state after an event, and what differs between two."""

from __future__ import annotations

from rest_framework import serializers

from runtime.api.serializers import AnyJSON
from runtime.states import JobStatus, StepStatus

LEDGER = "`step.call#generation` → state of the entry."
PAIR = "What it was, and what it is; null where there was none."


class StepThen(serializers.Serializer):  # type: ignore[type-arg]
    status = serializers.ChoiceField(StepStatus.choices)
    attempt = serializers.IntegerField()
    failures = serializers.IntegerField()
    branch = serializers.CharField(allow_null=True)
    waiting_for = serializers.CharField()


class StateShape(serializers.Serializer):  # type: ignore[type-arg]
    job = serializers.UUIDField()
    events = serializers.IntegerField(help_text="How many the job has.")
    seq = serializers.IntegerField(help_text="The event after which this was so.")
    status = serializers.ChoiceField(JobStatus.choices)
    paused = serializers.BooleanField()
    ending_as = serializers.CharField(allow_null=True)
    steps = serializers.DictField(child=StepThen(), help_text="By key.")
    ledger = serializers.DictField(child=serializers.CharField(), help_text=LEDGER)


class Pairs(serializers.DictField):
    """Name → pair."""

    child = serializers.ListField(child=AnyJSON(allow_null=True), min_length=2, max_length=2, help_text=PAIR)


class DiffShape(serializers.Serializer):  # type: ignore[type-arg]
    job = Pairs(help_text="Its status, whether it is paused, and what it is ending as.")
    steps = serializers.DictField(child=Pairs(), help_text="Step → field → pair.")
    ledger = Pairs(help_text=LEDGER)
    results = Pairs(allow_null=True, help_text="Step → pair of results.")
    calls = serializers.DictField(
        child=Pairs(), allow_null=True, help_text="Between two jobs: call → arguments and result that differ."
    )
    withheld = serializers.ListField(
        child=serializers.CharField(), help_text="What you may not see, or is too much for one answer."
    )
