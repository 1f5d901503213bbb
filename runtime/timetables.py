"""When a schedule ticks: at moments that follow from its timing alone, so that whoever looks finds the same ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LONGEST_GAP = timedelta(days=8 * 366)
"""From one 29 February to the next, where a century is not a leap year."""


@dataclass(frozen=True)
class Scheduled:
    """A schedule that an agent declares: `@agent("report", schedule=Scheduled(cron="0 9 * * 1-5"))`.

    Either `cron` (minute, hour, day of month, month, day of week, in `timezone`) or `every` (seconds, a timedelta or
    "15m"). `overlap` is skip or allow, `catch_up` last or none: see docs/schedules.md.
    """

    cron: str = ""
    every: Any = None
    timezone: str = "UTC"
    input: Any = None
    name: str = ""
    """The agent's name where none is given."""
    tenant: str = "default"
    queue: str | None = None
    priority: int | None = None
    overlap: str = "skip"
    catch_up: str = "last"


class Cron(Protocol):
    """Which minutes are meant, as sets of numbers; Sunday is 0."""

    minute: set[int]
    hour: set[int]
    day_of_week: set[int]
    day_of_month: set[int]
    month_of_year: set[int]
    tz: ZoneInfo


def last_of_interval(every: timedelta, now: datetime, begin: datetime = EPOCH) -> datetime:
    """The last whole interval since `begin` that is over."""
    return begin + (now - begin) // every * every


def last_of_cron(cron: Cron, now: datetime) -> datetime | None:
    """The last moment of the timetable that is not after `now`; None where there is none, as on 30 February.

    A time that the clocks skip in spring comes an hour later; one that they repeat in autumn comes once, unless the
    timetable means every hour.
    """
    for day in _days(now.astimezone(cron.tz).date(), -1):
        if _is_meant(cron, day):
            passed = (
                at for hour in sorted(cron.hour, reverse=True) for at in [_last(cron, day, hour, now)] if at
            )
            if found := next(passed, None):
                return found
    return None


def next_of_cron(cron: Cron, now: datetime) -> datetime | None:
    """The first moment of the timetable after `now`."""
    for day in _days(now.astimezone(cron.tz).date(), 1):
        if _is_meant(cron, day):
            coming = [at for hour in cron.hour for at in _moments(cron, day, hour) if at > now]
            if coming:
                return min(coming)
    return None


def _days(first: date, step: int) -> Iterator[date]:
    return (first + timedelta(days=step * number) for number in range(LONGEST_GAP.days))


def _is_meant(cron: Cron, day: date) -> bool:
    return (
        day.month in cron.month_of_year
        and day.day in cron.day_of_month
        and day.isoweekday() % 7 in cron.day_of_week
    )


def _last(cron: Cron, day: date, hour: int, now: datetime) -> datetime | None:
    if datetime(day.year, day.month, day.day, hour, tzinfo=cron.tz) - now > timedelta(hours=2):
        return None
    return max((at for at in _moments(cron, day, hour) if at <= now), default=None)


def _moments(cron: Cron, day: date, hour: int) -> Iterator[datetime]:
    folds = (0, 1) if len(cron.hour) == 24 else (0,)
    for minute in cron.minute:
        for fold in folds:
            local = datetime(day.year, day.month, day.day, hour, minute, tzinfo=cron.tz, fold=fold)
            yield local.astimezone(UTC)
