"""Events: what happened, in the form that can be proved later. Append-only, in code and by trigger."""

from __future__ import annotations

import json
from typing import Any

from django.db import models
from django.db.models import Q

from runtime.models.base import TenantField
from runtime.models.job import Job
from runtime.models.payload import PayloadField


class Event(models.Model):
    """One recorded fact of a job. `header` holds the exact bytes that `digest` hashes."""

    pk = models.CompositePrimaryKey("job_id", "seq")
    job = models.ForeignKey(
        Job, models.DO_NOTHING, related_name="events", db_constraint=False, db_index=False
    )
    seq = models.BigIntegerField()
    tenant = TenantField()
    type = models.CharField(max_length=40)
    step = models.CharField(max_length=255, null=True)
    attempt = models.IntegerField(null=True)
    worker = models.UUIDField(null=True)
    at = models.DateTimeField()
    call = models.CharField(max_length=300, null=True)
    header = models.BinaryField()
    digest = models.BinaryField(max_length=32)
    prev = models.BinaryField(max_length=32)

    class Meta:
        db_table = "aetheris_event"
        ordering = ("job_id", "seq")
        constraints = (
            models.UniqueConstraint(fields=("job", "prev"), name="aetheris_event_prev"),
            models.UniqueConstraint(
                fields=("job", "step"),
                name="aetheris_event_completed_once",
                condition=Q(type="step_completed"),
            ),
            models.UniqueConstraint(
                fields=("job", "step", "call", "attempt"),
                name="aetheris_event_called_once",
                condition=Q(type="tool_called"),
            ),
        )

    def __str__(self) -> str:
        return f"{self.seq} {self.type}"

    @property
    def data(self) -> dict[str, Any]:
        return self.as_header()["data"]  # type: ignore[no-any-return]

    def as_header(self) -> dict[str, Any]:
        return json.loads(bytes(self.header))  # type: ignore[no-any-return]


class EventPart(models.Model):
    """A payload of an event. The header commits to it by a salted digest, so it can be withheld or erased."""

    pk = models.CompositePrimaryKey("job_id", "seq", "name")
    job = models.ForeignKey(
        Job, models.DO_NOTHING, related_name="event_parts", db_constraint=False, db_index=False
    )
    seq = models.BigIntegerField()
    name = models.CharField(max_length=50)
    salt = models.CharField(max_length=32)
    value = PayloadField(null=True)
    blob = models.CharField(max_length=64, null=True)
    """The digest of a value that is kept apart."""

    class Meta:
        db_table = "aetheris_event_part"
        ordering = ("job_id", "seq", "name")

    def __str__(self) -> str:
        return f"{self.name} of {self.seq}"


class Blob(models.Model):
    """A value by its digest: graphs, and what is too large for the rows that speak of it."""

    pk = models.CompositePrimaryKey("tenant", "digest")
    tenant = TenantField()
    digest = models.CharField(max_length=64)
    value = models.JSONField()
    created_at = models.DateTimeField()

    class Meta:
        db_table = "aetheris_blob"

    def __str__(self) -> str:
        return self.digest
