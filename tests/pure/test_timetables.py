"""When a schedule ticks: the same moments whoever looks, also where clocks are moved."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from django_celery_beat.tzcrontab import TzAwareCrontab

from runtime.timetables import last_of_cron, last_of_interval, next_of_cron

BERLIN = "Europe/Berlin"


def cron(text: str, zone: str = "UTC") -> TzAwareCrontab:
    minute, hour, day, month, weekday = text.split()
    return TzAwareCrontab(minute, hour, weekday, day, month, tz=ZoneInfo(zone))


def at(text: str, zone: str = "UTC", fold: int = 0) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).astimezone(UTC)


@pytest.mark.parametrize(
    "text, zone, now, last, following",
    [
        ("0 9 * * *", "UTC", "2026-11-22T09:00", "2026-11-22T09:00", "2026-11-23T09:00"),
        ("0 9 * * *", "UTC", "2026-11-22T08:59", "2026-11-21T09:00", "2026-11-22T09:00"),
        ("*/15 * * * *", "UTC", "2026-11-22T10:44", "2026-11-22T10:30", "2026-11-22T10:45"),
        ("0 9 * * 1-5", BERLIN, "2026-11-22T12:00", "2026-11-20T09:00", "2026-11-23T09:00"),
        ("0 0 29 2 *", "UTC", "2027-01-01T00:00", "2024-02-29T00:00", "2028-02-29T00:00"),
        ("30 23 31 12 *", BERLIN, "2026-01-01T00:00", "2025-12-31T23:30", "2026-12-31T23:30"),
        ("0 0 * * *", "Asia/Kolkata", "2026-06-01T00:00", "2026-06-01T00:00", "2026-06-02T00:00"),
    ],
)
def test_a_timetable_has_a_last_moment_and_a_next_one(text, zone, now, last, following):
    table = cron(text, zone)
    assert last_of_cron(table, at(now, zone)) == at(last, zone)
    assert next_of_cron(table, at(now, zone)) == at(following, zone)


def test_a_time_that_the_clocks_skip_comes_an_hour_later():
    table = cron("30 2 * * *", BERLIN)
    assert last_of_cron(table, at("2026-03-29T12:00", BERLIN)) == at("2026-03-29T03:30", BERLIN)


def test_a_time_that_the_clocks_repeat_comes_once():
    table = cron("30 2 * * *", BERLIN)
    first = at("2026-10-25T02:30", BERLIN)
    assert next_of_cron(table, first - timedelta(minutes=1)) == first
    assert last_of_cron(table, at("2026-10-25T02:45", BERLIN, fold=1)) == first
    assert next_of_cron(table, first) == at("2026-10-26T02:30", BERLIN)


@pytest.mark.parametrize("day", ["2026-03-29", "2026-10-25"])
def test_what_ticks_every_five_minutes_does_so_on_the_days_on_which_clocks_are_moved(day):
    table = cron("*/5 * * * *", BERLIN)
    now = at(f"{day}T00:00", BERLIN)
    for _ in range(60):
        following = next_of_cron(table, now)
        assert following == now + timedelta(minutes=5)
        assert last_of_cron(table, following + timedelta(seconds=1)) == following
        now = following


def test_intervals_are_counted_from_a_moment_that_all_know():
    now = at("2026-11-22T10:44:59")
    assert last_of_interval(timedelta(minutes=15), now) == at("2026-11-22T10:30")
    assert last_of_interval(timedelta(days=1), now) == at("2026-11-22T00:00")
