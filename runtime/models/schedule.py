"""A schedule: an agent whose jobs begin at given times. When that is, and whether it rests, stands in the periodic
task of django-celery-beat that it belongs to."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import models
from django.db.models import Q
from django_celery_beat.models import PeriodicTask

from runtime import timetables
from runtime.graph.durations import written
from runtime.models.base import TenantField
from runtime.models.job import Job


class Overlap(models.TextChoices):
    """What a tick does while the job of the one before goes on."""

    SKIP = "skip"
    ALLOW = "allow"


class CatchUp(models.TextChoices):
    """What becomes of ticks that nobody saw, because no beat ran."""

    LAST = "last"
    NONE = "none"


class ScheduleQuerySet(models.QuerySet["Schedule"]):
    def enabled(self) -> ScheduleQuerySet:
        return self.filter(task__enabled=True)

    def with_timing(self) -> ScheduleQuerySet:
        return self.select_related("task__crontab", "task__interval")


class Schedule(models.Model):
    task = models.OneToOneField(
        PeriodicTask, models.CASCADE, primary_key=True, related_name="aetheris_schedule"
    )
    tenant = TenantField()
    agent = models.CharField(max_length=200)
    input = models.JSONField(null=True)
    queue = models.CharField(max_length=50, null=True)
    priority = models.SmallIntegerField(null=True)
    overlap = models.CharField(max_length=5, choices=Overlap.choices, default=Overlap.SKIP)
    catch_up = models.CharField(max_length=4, choices=CatchUp.choices, default=CatchUp.LAST)
    is_declared = models.BooleanField(default=False)
    """Whether an agent declares it in its code."""
    created_by = models.CharField(max_length=200, default="", blank=True)
    last_tick_at = models.DateTimeField()
    """The last tick that was seen; at first, when it was made."""
    last_job = models.ForeignKey(
        Job, models.SET_NULL, null=True, related_name="+", db_constraint=False, db_index=False
    )
    last_error = models.TextField(default="", blank=True)
    """Why the last tick began no job, if it did not."""

    objects = ScheduleQuerySet.as_manager()

    class Meta:
        db_table = "aetheris_schedule"
        ordering = ("task__name",)
        constraints = (
            models.CheckConstraint(name="aetheris_schedule_overlap", condition=Q(overlap__in=Overlap.values)),
            models.CheckConstraint(
                name="aetheris_schedule_catch_up", condition=Q(catch_up__in=CatchUp.values)
            ),
        )

    def __str__(self) -> str:
        return self.name

    @property
    def name(self) -> str:
        return str(self.task.name)

    @property
    def is_enabled(self) -> bool:
        return bool(self.task.enabled)

    @property
    def every(self) -> timedelta | None:
        interval = self.task.interval
        return timedelta(**{interval.period: interval.every}) if interval else None

    @property
    def timing(self) -> str:
        """In words: `0 9 * * 1-5 (Europe/Berlin)` or `every 15m`."""
        if self.every is not None:
            return f"every {written(self.every)}"
        cron = self.task.crontab
        fields = (cron.minute, cron.hour, cron.day_of_month, cron.month_of_year, cron.day_of_week)
        return f"{' '.join(fields)} ({cron.timezone})"

    def tick_before(self, now: datetime) -> datetime | None:
        """The last tick that is not after `now`."""
        if self.every is not None:
            return timetables.last_of_interval(self.every, now)
        return timetables.last_of_cron(self.task.crontab.schedule, now)

    def tick_after(self, now: datetime) -> datetime | None:
        if self.every is not None:
            return timetables.last_of_interval(self.every, now) + self.every
        return timetables.next_of_cron(self.task.crontab.schedule, now)
