"""Signals and waits. The inbox comes first: a signal is a row before anything else happens with it."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from runtime.clock import DatabaseNow
from runtime.models import job
from runtime.models.base import TenantField
from runtime.models.job import Job
from runtime.models.payload import PayloadField
from runtime.models.step import Step
from runtime.states import SignalState
from runtime.turn import Turn


class Signal(models.Model):
    id = models.BigAutoField(primary_key=True)
    tenant = TenantField()
    job = models.ForeignKey(Job, models.PROTECT, related_name="signals", db_index=False)
    name = models.CharField(max_length=255)
    dedup_id = models.CharField(max_length=255, null=True)
    payload = PayloadField(null=True)
    sender = models.CharField(max_length=200, default="", blank=True)
    state = models.CharField(max_length=10, choices=SignalState.choices)
    received_at = models.DateTimeField()
    consumed_by = models.ForeignKey(Step, models.PROTECT, null=True, related_name="signals", db_index=False)
    consumed_at = models.DateTimeField(null=True)
    digest = models.BinaryField(max_length=32, null=True)

    class Meta:
        db_table = "aetheris_signal"
        ordering = ("id",)
        constraints = (
            models.UniqueConstraint(fields=("job", "dedup_id"), name="aetheris_signal_dedup"),
            models.CheckConstraint(
                name="aetheris_signal_consumed",
                condition=Q(state="consumed", consumed_by__isnull=False, consumed_at__isnull=False)
                | ~Q(state="consumed") & Q(consumed_by__isnull=True),
            ),
        )
        indexes = (
            models.Index(
                fields=("job", "name", "id"), name="aetheris_signal_inbox", condition=Q(state="buffered")
            ),
        )

    def __str__(self) -> str:
        return f"{self.name} {self.state}"


class WaitQuerySet(models.QuerySet["Wait"]):
    def open(self) -> WaitQuerySet:
        return self.filter(closed_at__isnull=True)

    def due(self) -> WaitQuerySet:
        """Those past their deadline, the longest first."""
        return self.open().filter(deadline_at__lte=DatabaseNow()).order_by("deadline_at", "id")

    def after(self, last: Wait | None) -> WaitQuerySet:
        """What comes after this one in the order of deadlines."""
        if last is None:
            return self
        same = Q(deadline_at=last.deadline_at, id__gt=last.pk)
        return self.filter(Q(deadline_at__gt=last.deadline_at) | same, deadline_at__gte=last.deadline_at)

    def approvals(self) -> WaitQuerySet:
        return self.open().filter(kind="approval")

    def for_code(self) -> WaitQuerySet:
        """Open waits of steps that are held for the code that their jobs began with."""
        return self.filter(kind="code", closed_at__isnull=True)

    def for_list(self) -> WaitQuerySet:
        """Waits with their jobs, which come without payloads."""
        return self.select_related("job").defer(*(f"job__{name}" for name in job.NOT_LISTED))


class Wait(models.Model):
    """What a parked step waits for."""

    id = models.BigAutoField(primary_key=True)
    tenant = TenantField()
    job = models.ForeignKey(Job, models.PROTECT, related_name="waits", db_index=False)
    step = models.ForeignKey(Step, models.PROTECT, related_name="waits", db_index=False)
    step_key = models.CharField(max_length=255)
    attempt = models.IntegerField()
    kind = models.CharField(max_length=10)
    """signal, approval, subjob, timer, scopes, call, code, unknown or refused."""
    name = models.CharField(max_length=255)
    for_call = models.CharField(max_length=220, default="", blank=True)
    """The call, `name#generation`, that an approval is about, where it is not the step itself."""
    prompt = models.TextField(default="", blank=True)
    schema = models.JSONField(default=dict)
    approvers = models.JSONField(default=dict)
    opened_at = models.DateTimeField()
    deadline_at = models.DateTimeField(null=True)
    closed_at = models.DateTimeField(null=True)
    outcome = models.CharField(max_length=20, default="", blank=True)
    signal = models.ForeignKey(Signal, models.PROTECT, null=True, related_name="+", db_index=False)

    objects = WaitQuerySet.as_manager()

    class Meta:
        db_table = "aetheris_wait"
        ordering = ("id",)
        constraints = (
            models.UniqueConstraint(
                fields=("step",), name="aetheris_wait_one_open", condition=Q(closed_at__isnull=True)
            ),
        )
        indexes = (
            models.Index(fields=("job", "id"), name="aetheris_wait_job"),
            models.Index(
                fields=("job", "name", "id"),
                name="aetheris_wait_open",
                condition=Q(closed_at__isnull=True, kind__in=("signal", "approval", "subjob")),
            ),
            models.Index(
                fields=("deadline_at",),
                name="aetheris_wait_due",
                condition=Q(closed_at__isnull=True, deadline_at__isnull=False),
            ),
            models.Index(
                fields=("step",),
                name="aetheris_wait_refused",
                condition=Q(kind="refused", closed_at__isnull=True),
            ),
        )

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}"

    def time_out(self) -> None:
        """The deadline passed: the step is resumed and says itself what that means."""
        self.timing_out().commit()

    def timing_out(self) -> Turn:
        turn = Turn(self.job_id)
        facts = {"wait": self.kind, "name": self.name}
        turn.event("timer_fired", step=self.step_key, attempt=self.attempt, data=facts)
        step = Step(pk=self.step_id, key=self.step_key)
        # A step that was held for its code, too, runs with what had woken it before.
        is_call = self.kind == "call"
        turn.resume(
            step,
            {"outcome": "poll_due" if is_call else "timed_out"},
            waiting_for=f"{self.kind}:{self.name}",
            attempt=self.attempt,  # another sweep may have woken it since, and it waits for the same anew
            keep=is_call or self.kind == "code" or bool(self.for_call),
        )
        return turn
