"""Schedules: each tick begins at most one job, whoever looks, however often, and after whatever outage."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django_celery_beat.models import CrontabSchedule, IntervalSchedule, PeriodicTask

from aetheris_project.beat import OnlyScheduler
from aetheris_project.celery import app
from runtime import agents, leases, schedules, tasks
from runtime.exceptions import AgentNotFound, InputInvalid, ScheduleNotFound
from runtime.graph import Graph
from runtime.models import Job, Schedule
from runtime.timetables import Scheduled


@pytest.fixture(autouse=True)
def no_tasks(outside: Any) -> Iterator[None]:
    yield
    for model in (PeriodicTask, CrontabSchedule, IntervalSchedule):
        model.objects.all().delete()


def hourly(**keys: Any) -> Schedule:
    return schedules.add("echo", Scheduled(every="1h", name="hourly", **keys))


def again(schedule: Schedule) -> Schedule:
    return schedules.named(schedule.name)


def last_job(schedule: Schedule) -> Job:
    job = again(schedule).last_job
    assert job is not None
    return job


def test_each_tick_begins_one_job_with_the_schedules_input(drive, clock):
    schedule = hourly(input=7, queue="background", priority=3)
    assert schedules.run_due() == 0
    for count in (1, 2, 3):
        clock.forward(hours=1)
        assert [schedules.run_due(), schedules.run_due()] == [1, 0]
        job = last_job(schedule)
        assert drive(job).result == 7
        assert Job.objects.count() == count
    assert (job.submitted_by, job.queue, job.priority) == ("schedule:hourly", "background", 3)
    assert job.events.get(seq=1).data["schedule"] == "hourly"


def test_the_key_of_a_job_names_its_tick(clock):
    schedule = hourly()
    clock.forward(hours=1)
    schedules.run_due()
    schedule, job = again(schedule), last_job(schedule)
    assert job.idempotency_key == f"schedule:{schedule.pk}:{schedule.last_tick_at:%Y-%m-%dT%H:%M:%S.%fZ}"
    job.cancel()


def test_two_beats_that_look_at_once_begin_one_job(clock, pair):
    schedule = hourly(overlap="allow")
    moment = schedule.last_tick_at + timedelta(hours=2)
    tick = schedule.tick_before(moment)
    assert tick is not None
    first, second = again(schedule), again(schedule)
    looked = pair.at_once(
        lambda: schedules._run(first, tick, is_late=False),
        lambda: schedules._run(second, tick, is_late=False),
    )
    assert sorted(looked) == [False, True]
    assert Job.objects.count() == 1
    Job.objects.get().cancel()


def test_a_row_that_forgot_its_tick_does_not_make_its_job_twice(clock):
    """As after an edit in the admin that wrote back an old row."""
    schedule = hourly(overlap="allow")
    clock.forward(hours=1)
    schedules.run_due()
    Schedule.objects.update(last_tick_at=schedule.last_tick_at)
    schedules.run_due()
    assert Job.objects.count() == 1
    Job.objects.get().cancel()


def test_a_tick_while_the_job_before_goes_on_is_skipped_and_says_so(drive, clock):
    schedule = hourly()
    clock.forward(hours=1)
    assert schedules.run_due() == 1
    clock.forward(hours=1)
    assert schedules.run_due() == 0
    assert "skipped: job" in again(schedule).last_error
    drive(Job.objects.get())
    assert schedules.run_due() == 0, "a tick that was skipped is over"
    clock.forward(hours=1)
    assert (schedules.run_due(), again(schedule).last_error) == (1, "")
    last_job(schedule).cancel()


def test_a_schedule_may_let_its_jobs_overlap(clock):
    hourly(overlap="allow")
    for _ in range(3):
        clock.forward(hours=1)
        assert schedules.run_due() == 1
    for job in Job.objects.all():
        job.cancel()


@pytest.mark.parametrize("catch_up, jobs", [("last", 1), ("none", 0)])
def test_ticks_that_nobody_saw_begin_one_job_or_none(catch_up, jobs, clock):
    schedule = hourly(catch_up=catch_up)
    first = schedule.tick_after(schedule.last_tick_at)
    assert first is not None
    late = first + timedelta(hours=5, minutes=30)
    clock.forward(seconds=(late - schedule.last_tick_at).total_seconds())
    assert [schedules.run_due(), schedules.run_due()] == [jobs, 0]
    assert again(schedule).last_tick_at == late - timedelta(minutes=30)
    assert again(schedule).last_error == ("" if jobs else "missed: no beat ran at that time")
    for job in Job.objects.all():
        job.cancel()


def test_a_schedule_that_rests_begins_nothing_and_makes_up_for_nothing(clock):
    schedule = hourly()
    schedules.pause(schedule)
    clock.forward(hours=5)
    assert schedules.run_due() == 0
    schedules.resume(again(schedule))
    assert schedules.run_due() == 0
    clock.forward(hours=1)
    assert schedules.run_due() == 1
    Job.objects.get().cancel()


def test_a_job_may_be_begun_beside_the_ticks(drive, clock):
    schedule = hourly(input=1)
    job = schedules.run_now(schedule, by="ada")
    assert (job.submitted_by, drive(job).result) == ("ada", 1)
    clock.forward(hours=1)
    assert schedules.run_due() == 1
    last_job(schedule).cancel()


def test_a_schedule_whose_agent_is_gone_says_so_and_does_not_keep_the_others(monkeypatch, clock):
    monkeypatch.setattr(agents, "_agents", dict(agents._agents))
    agents.agent("leaving")(agents.get("echo").function)
    gone = schedules.add("leaving", Scheduled(every="1h", name="a"))
    schedules.add("echo", Scheduled(every="1h", name="b"))
    del agents._agents["leaving"]
    clock.forward(hours=1)
    assert schedules.run_due() == 1
    assert "leaving" in again(gone).last_error
    Job.objects.get().cancel()


def test_a_changed_timing_begins_now_and_not_in_its_past(clock):
    hourly()
    clock.forward(hours=3)
    changed = schedules.add("echo", Scheduled(cron="0 0 * * *", timezone="Europe/Berlin", name="hourly"))
    assert (Schedule.objects.count(), changed.timing) == (1, "0 0 * * * (Europe/Berlin)")
    assert schedules.run_due() == 0
    clock.forward(days=1)
    assert schedules.run_due() == 1
    Job.objects.get().cancel()


def test_beat_begins_the_jobs_itself_while_redis_is_away_and_after_it_forgot_everything(clock):
    hourly(overlap="allow")
    beat = OnlyScheduler(app=app)
    try:
        clock.forward(hours=1)
        leases.client().flushall()
        assert beat.tick() <= 1.0
        beat.tick()
        assert Job.objects.count() == 1
        clock.forward(hours=1)
        tasks.run_schedules()  # a beat of another kind sends a message, and it comes twice
        tasks.run_schedules()
        beat.tick()
        assert Job.objects.count() == 2
        assert "hourly" not in beat.schedule, "it needs no message"
    finally:
        beat.close()
    for job in Job.objects.all():
        job.cancel()


def test_a_schedule_that_an_agent_declares_is_there_after_migrate_once_and_as_it_was_left(monkeypatch):
    monkeypatch.setattr(agents, "_agents", dict(agents._agents))

    def nightly() -> Graph:
        graph = Graph()
        graph.function("it", "say", value=1)
        return graph

    agents.agent("nightly", schedule=Scheduled(cron="0 3 * * *", input={"all": True}))(nightly)
    schedules.sync()
    made = schedules.named("nightly")
    assert (made.is_declared, made.input, made.timing) == (True, {"all": True}, "0 3 * * * (UTC)")
    schedules.pause(made)
    schedules.sync()
    assert not schedules.named("nightly").is_enabled
    schedules.resume(made)
    seen = schedules.named("nightly").last_tick_at
    call_command("migrate", verbosity=0)
    assert (Schedule.objects.count(), schedules.named("nightly").last_tick_at) == (1, seen)

    agents.agent("nightly", schedule=Scheduled(every="2h"))(nightly)
    schedules.sync()
    assert schedules.named("nightly").timing == "every 2h"
    del agents._agents["nightly"]
    schedules.sync()
    assert not schedules.named("nightly").is_enabled


def test_keys_of_schedules_are_not_for_others():
    with pytest.raises(InputInvalid, match="runtime's own"):
        Job.objects.submit("echo", idempotency_key="schedule:1:2026-11-22T10:00:00.000000Z")


@pytest.mark.parametrize(
    "keys, place",
    [
        ({}, "cron"),
        ({"cron": "0 9 * * *", "every": "1h"}, "cron"),
        ({"cron": "0 9 * *"}, "cron"),
        ({"cron": "61 9 * * *"}, "cron"),
        ({"cron": "0 0 30 2 *"}, "cron"),
        ({"cron": "0 9 * * *", "timezone": "Mars/Phobos"}, "timezone"),
        ({"every": "0.5s"}, "every"),
        ({"every": "soon"}, "every"),
        ({"every": "1h", "overlap": "pile"}, "overlap"),
        ({"every": "1h", "catch_up": "all"}, "catch_up"),
        ({"every": "1h", "queue": "nowhere"}, "queue"),
        ({"every": "1h", "tenant": "No"}, "tenant"),
        ({"every": "1h", "name": "a b"}, "name"),
    ],
)
def test_what_makes_no_schedule_is_refused_with_its_place(keys, place):
    with pytest.raises(InputInvalid) as refused:
        schedules.add("echo", Scheduled(**keys))
    assert refused.value.path == place
    assert not PeriodicTask.objects.filter(task=schedules.TASK).exists()


def test_a_schedule_needs_an_agent_that_exists():
    with pytest.raises(AgentNotFound):
        schedules.add("nobody", Scheduled(every="1h"))
    with pytest.raises(ScheduleNotFound):
        schedules.named("nobody")


def test_other_periodic_tasks_are_left_alone():
    interval = IntervalSchedule.objects.create(every=1, period="hours")
    PeriodicTask.objects.create(name="cleanup", task="celery.backend_cleanup", interval=interval)
    with pytest.raises(InputInvalid, match="another kind"):
        schedules.add("echo", Scheduled(every="1h", name="cleanup"))
