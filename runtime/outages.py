"""Outages of PostgreSQL in the middle of the runtime's own work: waited out, never taken for a step's failure."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import structlog
from django.db import InterfaceError, OperationalError, connection

logger = structlog.get_logger(__name__)

T = TypeVar("T")

RECONNECT_SECONDS = 120.0
LONGEST_PAUSE = 2.0
LOCK_NOT_AVAILABLE = "55P03"


def wait_out(question: Callable[[], T], lost: Exception | None = None) -> T:
    """The answer to a question that may be asked again; `lost` is what interrupted the first try.

    Gives up after two minutes, and at once where waiting cannot help: on an error of another kind, and inside a
    caller's transaction, which is gone with its connection.
    """
    give_up = time.monotonic() + RECONNECT_SECONDS
    pause = 0.05
    while True:
        if lost is not None:
            if connection.in_atomic_block or not may_pass(lost) or time.monotonic() > give_up:
                raise lost
            logger.warning("database_lost", error=str(lost).strip())
            connection.close()
            time.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)
        try:
            return question()
        except (OperationalError, InterfaceError) as error:
            lost = error


def may_pass(error: Exception) -> bool:
    """Whether the same may succeed later: the connection is gone, or the server was busy or in a deadlock.

    The classes are those of PostgreSQL's error codes: 08 connection, 40 rollback, 53 resources, 57 operator.
    """
    code = getattr(error.__cause__, "sqlstate", None)
    return code is None or code == LOCK_NOT_AVAILABLE or code[:2] in ("08", "40", "53", "57")
