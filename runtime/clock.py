"""The clock. Predicates use the database's clock only; this module is how tests move it.

`aetheris_now()` in SQL and `now()` here add the same offset, zero in production. A test shifts both with
`shift()`: every connection of this process follows, also those that other threads open later.
"""

from datetime import UTC, datetime, timedelta

from django.db import connection
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from django.db.models import DateTimeField, Func

_offset = timedelta(0)


class DatabaseNow(Func):
    """`aetheris_now()` in a query: database time, moved by the test clock.

    As a query of its own it is asked once, and an index can be searched for what it answered.
    """

    template = "(SELECT aetheris_now())"
    output_field = DateTimeField()


def database_now() -> datetime:
    """Database time, moved by the test clock."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT aetheris_now()")
        found: datetime = cursor.fetchone()[0]
        return found


def now() -> datetime:
    """The time of this process, in UTC, moved by the test clock. Never used in a predicate."""
    return datetime.now(UTC) + _offset


def shift(by: timedelta) -> None:
    """Move the clock of this process and its current database connection to `by` from real time."""
    global _offset
    _offset = by
    _apply(connection)


def offset() -> timedelta:
    return _offset


def _apply(wrapper: BaseDatabaseWrapper) -> None:
    with wrapper.cursor() as cursor:
        cursor.execute(
            "SELECT set_config('aetheris.clock_offset', %s, false)", [f"{_offset.total_seconds()} seconds"]
        )


def _follow(sender: object, connection: BaseDatabaseWrapper, **kwargs: object) -> None:
    if _offset:
        _apply(connection)


connection_created.connect(_follow, dispatch_uid="aetheris.clock")
