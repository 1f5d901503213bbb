"""The ledger: one row per intended effect, durable before the first byte leaves."""

from __future__ import annotations

from django.db import models
from django.db.models import Count, Q, Sum
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Cast

from runtime.models import job, step
from runtime.models.base import TenantField
from runtime.models.job import Job
from runtime.models.payload import PayloadField
from runtime.models.signal import Wait
from runtime.models.step import Step
from runtime.states import EntryState

SUMMED = ("input_tokens", "cached_tokens", "output_tokens", "cost_micros")
NOT_LISTED = ("arguments", "result", "error", "usage")


class LedgerEntryQuerySet(models.QuerySet["LedgerEntry"]):
    def in_doubt(self) -> LedgerEntryQuerySet:
        """Effects of which nobody knows whether they happened: a person decides."""
        return self.filter(state=EntryState.UNKNOWN)

    def usage(self) -> dict[str, int]:
        """Model calls that were answered, their tokens and their cost, as sums. Calls without a price cost nothing."""
        sums = {name: Sum(Cast(KeyTextTransform(name, "usage"), models.BigIntegerField())) for name in SUMMED}
        found = self.filter(kind="llm", usage__isnull=False).order_by().aggregate(calls=Count("pk"), **sums)
        return {name: value or 0 for name, value in found.items()}

    def undecided(self) -> LedgerEntryQuerySet:
        """Those that wait for a person: in doubt, or to be undone where that was refused for good."""
        # Their ids first: over a join the planner would read the whole ledger.
        steps = list(Wait.objects.open().filter(kind="refused").values_list("step", flat=True))
        return self.filter(Q(state=EntryState.UNKNOWN) | Q(undone_by__in=steps, state=EntryState.COMMITTED))

    def for_list(self) -> LedgerEntryQuerySet:
        """Entries with their steps and jobs, none of them with its payloads."""
        of_job = (f"job__{name}" for name in job.NOT_LISTED)
        of_step = (f"step__{name}" for name in step.NOT_LISTED)
        return self.select_related("step", "job").defer(*NOT_LISTED, *of_job, *of_step)


class LedgerEntry(models.Model):
    id = models.BigAutoField(primary_key=True)
    tenant = TenantField()
    job = models.ForeignKey(Job, models.PROTECT, related_name="ledger", db_constraint=False, db_index=False)
    step = models.ForeignKey(Step, models.PROTECT, related_name="ledger", db_constraint=False, db_index=False)
    call = models.CharField(max_length=200)
    generation = models.IntegerField(default=0)
    kind = models.CharField(max_length=10)
    """`tool` or `llm`."""
    name = models.CharField(max_length=200)
    state = models.CharField(max_length=12, choices=EntryState.choices)
    attempt = models.IntegerField()
    """The attempt that started the call: the guard of its outcome."""
    worker_id = models.UUIDField(null=True)
    fingerprint = models.BinaryField(max_length=32)
    idempotency_key = models.UUIDField()
    policy = models.JSONField(default=dict)
    arguments = PayloadField(null=True)
    result = PayloadField(null=True)
    error = models.JSONField(null=True)
    usage = models.JSONField(null=True)
    source = models.CharField(max_length=10, default="", blank=True)
    provider = models.CharField(max_length=100, default="", blank=True)
    """Whose webhooks may settle it."""
    external_id = models.CharField(max_length=255, default="", blank=True)
    """What the outside calls it."""
    calls = models.IntegerField(default=0)
    """How often the call was started under this key."""
    reserved_at = models.DateTimeField()
    started_at = models.DateTimeField(null=True)
    answer_by = models.DateTimeField(null=True)
    """Until when the outside may take its time with a call that it accepted."""
    poll_errors = models.IntegerField(default=0)
    """Polls in a row that were not answered."""
    settled_at = models.DateTimeField(null=True)
    resolved_by = models.CharField(max_length=200, default="", blank=True)
    resolved_why = models.TextField(default="", blank=True)
    undone_by = models.ForeignKey(
        Step, models.PROTECT, null=True, related_name="undoes", db_constraint=False, db_index=False
    )
    """The step that compensates this call, once the job is ending."""

    objects = LedgerEntryQuerySet.as_manager()

    class Meta:
        db_table = "aetheris_ledger_entry"
        ordering = ("id",)
        verbose_name_plural = "ledger entries"
        constraints = (
            models.UniqueConstraint(fields=("job", "step", "call", "generation"), name="aetheris_ledger_key"),
            models.CheckConstraint(
                name="aetheris_ledger_started",
                condition=Q(state__in=("reserved", "cancelled")) | Q(started_at__isnull=False),
            ),
        )
        indexes = (
            models.Index(
                fields=("undone_by",), name="aetheris_ledger_undone", condition=Q(undone_by__isnull=False)
            ),
            models.Index(fields=("tenant", "id"), name="aetheris_ledger_doubt", condition=Q(state="unknown")),
            models.Index(
                fields=("job",),
                name="aetheris_ledger_open",
                condition=Q(state__in=("reserved", "started", "accepted")),
            ),
            models.Index(
                fields=("provider", "idempotency_key"),
                name="aetheris_ledger_webhook",
                condition=~Q(provider=""),
            ),
            models.Index(
                fields=("provider", "external_id"),
                name="aetheris_ledger_external",
                condition=~Q(provider="") & ~Q(external_id=""),
            ),
        )

    def __str__(self) -> str:
        return f"{self.call}#{self.generation} {self.state}"
