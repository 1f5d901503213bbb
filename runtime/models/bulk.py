"""Bulk operations: one verb for many jobs, as it was asked for, and how far it is."""

from __future__ import annotations

from typing import Any

from django.db import models

from runtime.models.base import TenantField, new_id


class BulkVerb(models.TextChoices):
    CANCEL = "cancel"
    PAUSE = "pause"
    RESUME = "resume"
    RETRY = "retry"
    ADOPT = "adopt"


class BulkOperation(models.Model):
    MOST_REFUSALS = 1000

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    tenant = TenantField()
    verb = models.CharField(max_length=6, choices=BulkVerb.choices)
    chosen = models.JSONField()
    """Which jobs, frozen: no job that is submitted later is one of them."""
    by = models.CharField(max_length=200, default="", blank=True)
    why = models.TextField(default="", blank=True)
    begun_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True)
    total = models.IntegerField()
    """How many jobs matched when it began."""
    cursor = models.UUIDField(null=True)
    """The last job that was asked; they are asked in the order of their ids."""
    done = models.IntegerField(default=0)
    refused = models.IntegerField(default=0)
    refusals = models.JSONField(default=list)
    """Job and reason, of the first thousand."""

    class Meta:
        db_table = "aetheris_bulk_operation"
        ordering = ("-id",)

    def __str__(self) -> str:
        return f"{self.verb} {self.total} jobs"

    def note(self, job_id: Any, refusal: str) -> None:
        """One job was asked. Part of the transaction in which it was."""
        self.cursor = job_id
        if not refusal:
            self.done += 1
            return self.save(update_fields=["cursor", "done"])
        self.refused += 1
        if len(self.refusals) < self.MOST_REFUSALS:
            self.refusals.append({"job": str(job_id), "reason": refusal})
        self.save(update_fields=["cursor", "refused", "refusals"])
