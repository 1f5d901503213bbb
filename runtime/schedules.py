"""Schedules: jobs that begin at given times, each tick with at most one.

A tick is a moment that follows from the timing, and the job of a tick has an idempotency key that names it. So two
beats, one that was started again, or a message that comes twice find the same tick and the same job. Nothing is
asked of Redis: the beat looks at the rows and submits.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import structlog
from django.apps import apps as registry
from django.core.exceptions import ValidationError
from django.db import DatabaseError, transaction
from django_celery_beat.models import CrontabSchedule, IntervalSchedule, PeriodicTask

from runtime import agents, clock, planning, timetables
from runtime.exceptions import AetherisError, InputInvalid, ScheduleNotFound
from runtime.graph import GraphInvalid, seconds
from runtime.models import Job, Schedule
from runtime.models.schedule import CatchUp, Overlap
from runtime.timetables import Scheduled
from runtime.values import check

logger = structlog.get_logger(__name__)

TASK = "aetheris.run_schedules"
"""The name of the Celery task; beat itself does what it does."""
LATE = timedelta(minutes=1)
"""A tick that is seen later than this was missed: whether it is made up for is up to `catch_up`."""
NAME = re.compile("[a-zA-Z0-9][a-zA-Z0-9_.-]{0,99}")
CRON = ("minute", "hour", "day_of_month", "month_of_year", "day_of_week")


# Ticks


def run_due() -> int:
    """Begin the jobs of all ticks that nobody has seen yet; how many."""
    now = clock.now()
    return sum(_look_at(schedule, now) for schedule in Schedule.objects.enabled().with_timing())


def _look_at(schedule: Schedule, now: datetime) -> bool:
    try:
        tick = schedule.tick_before(now)
        # What was changed begins anew: the ticks of a new timing, or of the time in which it rested, are not missed.
        if tick is None or tick <= max(schedule.last_tick_at, schedule.task.date_changed):
            return False
        return _run(schedule, tick, is_late=now - tick > LATE)
    except DatabaseError:
        raise
    except Exception:  # whatever is wrong with this one, the others are looked at
        logger.exception("schedule_not_run", schedule=schedule.name)
        return False


def _run(schedule: Schedule, tick: datetime, *, is_late: bool) -> bool:
    with transaction.atomic():
        mine = Schedule.objects.with_timing().select_for_update(of=("self",)).get(pk=schedule.pk)
        if tick <= mine.last_tick_at:
            return False  # another beat was first
        mine.last_tick_at, mine.last_error = tick, _why_not(mine, is_late=is_late)
        if not mine.last_error:
            _begin(mine, f"{planning.SCHEDULED}{mine.pk}:{tick:%Y-%m-%dT%H:%M:%S.%fZ}")
        mine.save(update_fields=["last_tick_at", "last_job", "last_error"])
        PeriodicTask.objects.filter(pk=mine.pk).update(last_run_at=tick)
    return not mine.last_error


def _why_not(schedule: Schedule, *, is_late: bool) -> str:
    if is_late and schedule.catch_up == CatchUp.NONE:
        return "missed: no beat ran at that time"
    before = schedule.last_job
    if schedule.overlap == Overlap.SKIP and before is not None and not before.is_finished:
        return f"skipped: job {before.pk} of an earlier tick is {before.status}"
    return ""


def _begin(schedule: Schedule, key: str, by: str = "") -> None:
    try:
        schedule.last_job = planning.submit(
            schedule.agent,
            schedule.input,
            idempotency_key=key,
            tenant=schedule.tenant,
            by=by or f"schedule:{schedule.name}",
            queue=schedule.queue,
            priority=schedule.priority,
            schedule=schedule.name,
        )
    except (AetherisError, GraphInvalid) as error:
        schedule.last_error = str(error)
        logger.warning("schedule_refused", schedule=schedule.name, error=str(error))


# What people do with them


def named(name: str) -> Schedule:
    """Raises `ScheduleNotFound`."""
    found = Schedule.objects.with_timing().filter(task__name=name).first()
    if found is None:
        raise ScheduleNotFound(name)
    return found


def add(agent: str, scheduled: Scheduled, *, by: str = "", is_declared: bool = False) -> Schedule:
    """Make a schedule, or change the one of this name. Raises `AgentNotFound` or `InputInvalid`."""
    name = scheduled.name or agent
    _check(name, agent, scheduled)
    with transaction.atomic():
        timing = {"crontab": _cron(scheduled), "interval": _interval(scheduled)}
        task, _ = PeriodicTask.objects.update_or_create(name=name, defaults={"task": TASK, **timing})
        Schedule.objects.update_or_create(
            task=task,
            defaults={
                "tenant": scheduled.tenant,
                "agent": agent,
                "input": scheduled.input,
                "queue": scheduled.queue,
                "priority": scheduled.priority,
                "overlap": scheduled.overlap,
                "catch_up": scheduled.catch_up,
                "is_declared": is_declared,
                "created_by": by,
                "last_tick_at": clock.now(),
            },
        )
    return named(name)


def pause(schedule: Schedule) -> None:
    """No tick begins a job until it is resumed; those meanwhile are not made up for."""
    _enable(schedule, False)


def resume(schedule: Schedule) -> None:
    Schedule.objects.filter(pk=schedule.pk).update(last_tick_at=clock.now())
    _enable(schedule, True)


def run_now(schedule: Schedule, *, by: str) -> Job:
    """A job beside the ticks, whatever else goes on. Raises what `submit` raises."""
    key = f"{planning.SCHEDULED}{schedule.pk}:now:{uuid4()}"
    _begin(schedule, key, by)
    if schedule.last_error or schedule.last_job is None:
        raise InputInvalid("schedule", schedule.last_error)
    schedule.save(update_fields=["last_job"])
    return schedule.last_job


def remove(schedule: Schedule) -> None:
    schedule.task.delete()


def sync() -> None:
    """What agents declare in code becomes rows. Whether it rests stays as it is; what is declared no more rests."""
    declared = {
        scheduled.name or agent.name: (agent.name, scheduled)
        for agent in agents.registered().values()
        if (scheduled := agent.schedule) is not None
    }
    for name, (agent, scheduled) in declared.items():
        known = Schedule.objects.with_timing().filter(task__name=name).first()
        if known is None or not _is_same(known, agent, scheduled):
            add(agent, scheduled, is_declared=True)
    for schedule in Schedule.objects.enabled().with_timing().filter(is_declared=True):
        if schedule.name not in declared:
            pause(schedule)


def sync_after_migrate(apps: Any = None, **kwargs: object) -> None:
    """After migrations, unless somebody migrated to before the tables, and after a flush."""
    try:
        (apps or registry).get_model("runtime", "Schedule")
    except LookupError:
        return
    sync()


def _enable(schedule: Schedule, enabled: bool) -> None:
    schedule.task.enabled = enabled
    schedule.task.save()


def _is_same(known: Schedule, agent: str, scheduled: Scheduled) -> bool:
    columns = ("tenant", "input", "queue", "priority", "overlap", "catch_up")
    same = all(getattr(known, name) == getattr(scheduled, name) for name in columns)
    cron, interval = _cron(scheduled), _interval(scheduled)
    return same and known.agent == agent and (known.task.crontab, known.task.interval) == (cron, interval)


def _check(name: str, agent: str, scheduled: Scheduled) -> None:
    if not NAME.fullmatch(name):
        raise InputInvalid("name", "must be up to 100 letters, digits, '.', '_' or '-'")
    agents.get(agent)
    check(scheduled.input, "input")
    planning.check_columns(scheduled.tenant, "", scheduled.queue, scheduled.priority)
    for path, value, known in (
        ("overlap", scheduled.overlap, Overlap.values),
        ("catch_up", scheduled.catch_up, CatchUp.values),
    ):
        if value not in known:
            raise InputInvalid(path, f"must be one of {', '.join(known)}")
    if bool(scheduled.cron) == (scheduled.every is not None):
        raise InputInvalid("cron", "give either cron or every")
    if PeriodicTask.objects.filter(name=name).exclude(task=TASK).exists():
        raise InputInvalid("name", f"{name!r} is a periodic task of another kind")


def _cron(scheduled: Scheduled) -> CrontabSchedule | None:
    if not scheduled.cron:
        return None
    fields = scheduled.cron.split()
    if len(fields) != len(CRON):
        raise InputInvalid("cron", "has five fields: minute, hour, day of month, month, day of week")
    values = {**dict(zip(CRON, fields, strict=True)), "timezone": _zone(scheduled.timezone)}
    known = CrontabSchedule(**values)
    try:
        known.full_clean(validate_unique=False)
        following = timetables.next_of_cron(known.schedule, clock.now())
    except ValidationError as error:
        field, messages = next(iter(error.message_dict.items()))
        raise InputInvalid("cron", f"{field}: {messages[0]}") from error
    except ValueError as error:
        raise InputInvalid("cron", str(error)) from error
    if following is None:
        raise InputInvalid("cron", "never comes")
    return CrontabSchedule.objects.filter(**values).first() or _saved(known)


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise InputInvalid("timezone", f"there is no time zone {name[:60]!r}") from error


def _interval(scheduled: Scheduled) -> IntervalSchedule | None:
    if scheduled.every is None:
        return None
    try:
        length = seconds(scheduled.every)
    except ValueError as error:
        raise InputInvalid("every", str(error)) from error
    if length < 1 or length != int(length):
        raise InputInvalid("every", "must be whole seconds, one or more")
    found, _ = IntervalSchedule.objects.get_or_create(every=int(length), period=IntervalSchedule.SECONDS)
    return found


def _saved(cron: CrontabSchedule) -> CrontabSchedule:
    cron.save()
    return cron
