"""Holds: an agent or a queue that rests. Only the claim looks at them; everything else about a job goes on.

A row is one rest, with who began it and who ended it. It belongs to no job, so it is no event.
"""

from __future__ import annotations

from django.db import models
from django.db.models import Exists, OuterRef, Q

from runtime.models.base import TenantField


class HoldKind(models.TextChoices):
    AGENT = "agent"
    QUEUE = "queue"


class HoldQuerySet(models.QuerySet["Hold"]):
    def active(self) -> HoldQuerySet:
        return self.filter(released_at__isnull=True)


class Hold(models.Model):
    tenant = TenantField()
    kind = models.CharField(max_length=5, choices=HoldKind.choices)
    name = models.CharField(max_length=200)
    by = models.CharField(max_length=200, default="", blank=True)
    why = models.TextField(default="", blank=True)
    held_at = models.DateTimeField()
    released_by = models.CharField(max_length=200, default="", blank=True)
    released_why = models.TextField(default="", blank=True)
    released_at = models.DateTimeField(null=True)

    objects = HoldQuerySet.as_manager()

    class Meta:
        db_table = "aetheris_hold"
        ordering = ("-id",)
        constraints = (
            models.UniqueConstraint(
                fields=("tenant", "kind", "name"),
                name="aetheris_hold_active",
                condition=Q(released_at__isnull=True),
            ),
        )

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


class Held(models.Model):
    """What rests now, and nothing else: every claim looks here, so the table has to be as good as empty."""

    tenant = TenantField()
    kind = models.CharField(max_length=5, choices=HoldKind.choices)
    name = models.CharField(max_length=200)

    class Meta:
        db_table = "aetheris_held"
        constraints = (models.UniqueConstraint(fields=("tenant", "kind", "name"), name="aetheris_held_once"),)

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


def holding_back() -> Exists:
    """Of a step: an active hold on its agent or its queue."""
    agent = Q(kind=HoldKind.AGENT, name=OuterRef("job__agent"))
    queue = Q(kind=HoldKind.QUEUE, name=OuterRef("queue"))
    return Exists(Held.objects.filter(agent | queue, tenant=OuterRef("tenant")))
