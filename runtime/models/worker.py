"""Workers. A row is one incarnation: a fresh id per process start, never a host name."""

from __future__ import annotations

from datetime import timedelta

from django.contrib.postgres.fields import ArrayField
from django.db import models

from runtime.clock import DatabaseNow
from runtime.models.base import new_id


class WorkerQuerySet(models.QuerySet["Worker"]):
    def alive(self, lease: timedelta) -> WorkerQuerySet:
        return self.filter(stopped_at__isnull=True, heartbeat_at__gte=DatabaseNow() - lease)


class Worker(models.Model):
    id = models.UUIDField(primary_key=True, default=new_id)
    name = models.CharField(max_length=200)
    host = models.CharField(max_length=200)
    pid = models.IntegerField()
    role = models.CharField(max_length=10, default="worker")
    """worker or sweeper."""
    queues = ArrayField(models.CharField(max_length=50), default=list)
    capabilities = ArrayField(models.CharField(max_length=50), default=list)
    """What the steps that it claims may require."""
    started_at = models.DateTimeField()
    heartbeat_at = models.DateTimeField()
    holding = models.JSONField(default=dict)
    """The steps this process runs: step id → attempt."""
    lifeline = models.IntegerField(null=True)
    """The number of the advisory lock that its heartbeat holds; NULL where it holds none. See `runtime.lifelines`."""
    draining_at = models.DateTimeField(null=True)
    stopped_at = models.DateTimeField(null=True)

    objects = WorkerQuerySet.as_manager()

    class Meta:
        db_table = "aetheris_worker"
        ordering = ("-started_at",)

    def __str__(self) -> str:
        return f"{self.name} ({self.id})"
