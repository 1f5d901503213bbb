"""Where recorded steps run again: they reach no clock, no outside and no row, and have a limited time."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection, transaction

from runtime.contract.guard import Guard

AGAIN_SECONDS = 0.2


class TimeExceeded(BaseException):
    """Not an `Exception`: a step that catches those does not catch its own end."""


@contextmanager
def sandbox(guard: Guard, seconds: float) -> Iterator[None]:
    """Raises `ContractViolated` for what the guard sees, `TimeExceeded` after `seconds`.

    Rows may be read, as in any step. PostgreSQL itself refuses writes, also those that no guard would see. A call
    into C that never returns is not interrupted.
    """
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL transaction_read_only = on")
            cursor.execute(
                "SET LOCAL idle_in_transaction_session_timeout = 0"
            )  # the step may think for a while
        try:
            with _limited(seconds), guard:
                yield
        finally:
            transaction.set_rollback(True)


@contextmanager
def _limited(seconds: float) -> Iterator[None]:
    over, thread = threading.Event(), threading.get_ident()

    def watch() -> None:
        if over.wait(seconds):
            return
        while not over.is_set():
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(TimeExceeded))
            over.wait(AGAIN_SECONDS)  # the step may have caught it

    watcher = threading.Thread(target=watch, name="aetheris-replay-limit", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        _end(watcher, over)


def _end(watcher: threading.Thread, over: threading.Event) -> None:
    """An interruption that is on its way arrives here, and not in whoever comes next."""
    has_ended = False
    while not has_ended:
        try:
            over.set()
            watcher.join()
            for _ in range(1000):
                pass
            has_ended = True
        except TimeExceeded:
            continue
