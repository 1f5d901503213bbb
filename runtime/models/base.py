"""What every table of the runtime shares."""

from typing import Any
from uuid import UUID

from django.db import models
from django.db.models.expressions import RawSQL
from uuid_utils.compat import uuid7


def sound(name: str, condition: str) -> models.CheckConstraint:
    """A check in SQL. PostgreSQL reads its stored form anew for every write of a row, so it is as short as can be."""
    return models.CheckConstraint(name=name, condition=RawSQL(condition, (), models.BooleanField()))


def new_id() -> UUID:
    """A UUIDv7: ids sort by time, so a range of ids is a range of time."""
    return uuid7()


class TenantField(models.CharField[Any, Any]):
    """The tenant of a row: an ASCII slug, part of every unique key."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("max_length", 63)
        kwargs.setdefault("default", "default")
        super().__init__(*args, **kwargs)
