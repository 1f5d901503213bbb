"""The clock."""

# mypy: ignore-errors

import datetime
import datetime as d
import importlib
import time
import time as clockwork
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from datetime import datetime as dt
from functools import partial
from time import monotonic, perf_counter_ns, sleep, strftime
from time import time as t

from django.utils import timezone
from django.utils.timezone import now

from tests.contract.corpus.broken import elsewhere
from tests.contract.corpus.broken.elsewhere import elapsed, moment, stamp

tick = time.time
Moment = dt


def plain(context):
    return time.time()  # breaks: clock


def alias_of_function(context):
    return t()  # breaks: clock


def alias_of_module(context):
    return clockwork.time_ns()  # breaks: clock


def from_import(context):
    return monotonic() + perf_counter_ns()  # breaks: clock, clock


def of_datetime(context):
    return [
        datetime.datetime.now().isoformat(),  # breaks: clock
        d.datetime.utcnow().isoformat(),  # breaks: clock
        dt.now(tz=datetime.UTC).isoformat(),  # breaks: clock
        date.today().isoformat(),  # breaks: clock
        Moment.today().isoformat(),  # breaks: clock
    ]


def of_django(context):
    return [timezone.now(), now(), timezone.localdate()]  # breaks: clock, clock


def without_argument(context):
    return [time.localtime(), time.gmtime(), strftime("%Y")]  # breaks: clock, clock, clock


def assigned_in_module(context):
    return tick()  # breaks: clock


def assigned_in_step(context):
    read = time.perf_counter  # breaks: clock
    return read()  # breaks: clock


def assigned_class(context):
    today = datetime.date
    return today.today().isoformat()  # breaks: clock


def by_getattr(context):
    return getattr(time, "time")()  # breaks: clock  # noqa: B009


def by_import(context):
    import time as inner

    first = inner.time()  # breaks: clock
    second = __import__("time").time()  # breaks: clock
    return first + second + importlib.import_module("time").time()  # breaks: clock


def _helper():
    return _deeper()


def _deeper():
    return time.process_time()  # breaks: clock


def through_helpers(context):
    return _helper()


def handed_on(context):
    return list(map(_mapped, [1, 2]))


def _mapped(value):
    return value * time.time()  # breaks: clock


def in_lambda(context, items):
    return sorted(items, key=lambda item: (time.time(), item))  # breaks: clock


def nested(context):
    def outer():
        def inner():
            return t()  # breaks: clock

        return inner()

    return outer()


def in_default(context, at=time.time):  # breaks: clock
    return at


def as_argument(context, items):
    return partial(max, default=time.time)(items)  # breaks: clock


async def in_coroutine(context):
    async def inner():
        return time.time()  # breaks: clock

    return await inner()


def in_comprehension(context, items):
    return {item: time.time() for item in items}  # breaks: clock


@dataclass
class Stamp:
    at: float = field(default_factory=time.time)  # breaks: clock

    def age(self):
        return time.time() - self.at  # breaks: clock

    def unused(self):
        return time.time() + self.at


def in_dataclass(context):
    return Stamp().age()


class Watch:
    def __enter__(self):
        self.began = time.monotonic()  # breaks: clock
        return self

    def __exit__(self, *exit):
        self._stop()

    def _stop(self):
        self.took = monotonic() - self.began  # breaks: clock


def in_context_manager(context):
    with Watch() as watch:
        pass
    return watch


def elsewhere_too(context):
    return [elapsed(), elsewhere.elapsed()]


def loaded_from_elsewhere(context):
    read = moment()  # breaks: clock
    again = elsewhere.moment()  # breaks: clock
    return [read, again, stamp(), elsewhere.stamp()]  # breaks: clock


def in_f_string(context):
    return f"at {dt.now():%H:%M}"  # breaks: clock


def walrus(context):
    if (started := time.time()) > 0:  # breaks: clock
        return started
    return None


def typed(context, read: Callable[[], float] = monotonic) -> float:  # breaks: clock
    return read()


def slept(context):
    sleep(1)  # breaks: sleep
