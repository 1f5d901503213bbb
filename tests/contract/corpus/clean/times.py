"""Time as a value."""

# mypy: ignore-errors

import calendar
import email.utils
import time
from datetime import UTC, date, datetime, timedelta
from datetime import datetime as dt
from time import gmtime, strftime
from zoneinfo import ZoneInfo

from django.utils import timezone

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ATHENS = ZoneInfo("Europe/Athens")


def due(context, days):
    return (context.now() + timedelta(days=days)).isoformat()


def parsed(context, text):
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=UTC).timestamp()


def formatted(context, seconds):
    return [
        strftime("%Y-%m-%d", gmtime(seconds)),
        time.strftime("%H:%M", time.gmtime(seconds)),
        time.ctime(seconds),
    ]


def local_day(context, text):
    moment = dt.fromisoformat(text)
    return timezone.localdate(timezone.make_aware(moment, ATHENS)).isoformat()


def in_athens(context):
    return timezone.localtime(context.now(), ATHENS).hour


def age(context, born):
    today = context.now().date()
    return today.year - date.fromisoformat(born).year


def mailed_at(context, seconds):
    return email.utils.formatdate(seconds)


def workdays(context, year, month):
    return [day for day, weekday in calendar.Calendar().itermonthdays2(year, month) if day and weekday < 5]


def given_clock(context, time):
    """A parameter hides the module."""
    return time.time() if hasattr(time, "time") else time


class Period:
    def __init__(self, start, days):
        self.start = start
        self.days = days

    def now(self):
        return self.start

    def end(self):
        return self.start + timedelta(days=self.days)

    def measured(self):
        """Never called by a step."""
        return time.perf_counter()


def period(context, days):
    period = Period(context.now(), days)
    return [period.now().isoformat(), period.end().isoformat()]


def says_so(context):
    """Text is not code: time.time(), random.random()."""
    return "call time.time() and uuid.uuid4() " + f"{'datetime.now()'}"


def since_epoch(context, text):
    return (datetime.fromisoformat(text) - EPOCH).total_seconds()
