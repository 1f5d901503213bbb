"""Overload: a job whose queue holds too many ready steps is refused at submit, while what was accepted goes on.

Each process looks once a second at most, and no further than the limit. What jobs begin themselves, subjobs and the
ticks of schedules, belongs to what was accepted.
"""

from __future__ import annotations

import time

from django.db import connection

from runtime.conf import settings
from runtime.exceptions import Overloaded

LOOK_SECONDS = 1.0

IS_FULL = "SELECT 1 FROM aetheris_step WHERE status = 'ready' AND queue = %s OFFSET %s LIMIT 1"

_looks: dict[str, tuple[float, bool]] = {}


def check(queue: str) -> None:
    """Raises `Overloaded`."""
    most = settings().max_ready_steps
    if most is not None and _is_full(queue, most):
        raise Overloaded(queue, most)


def _is_full(queue: str, most: int) -> bool:
    at, seen = _looks.get(queue, (-LOOK_SECONDS, False))
    now = time.monotonic()
    if now - at < LOOK_SECONDS:
        return seen
    with connection.cursor() as cursor:
        cursor.execute(IS_FULL, [queue, most])
        seen = cursor.fetchone() is not None
    _looks[queue] = (now, seen)
    return seen


def forget() -> None:
    """Look again at the next submit."""
    _looks.clear()
