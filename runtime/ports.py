"""Where the runtime meets chance, and where a test may stop it.

`crash_point(name)` does nothing in production. A test or a simulation installs a hook that kills, stops or
yields there; the names are enumerated so that a run can fail when one was never reached.
"""

import os
import secrets
import signal
from collections.abc import Callable
from enum import StrEnum


class CrashPoint(StrEnum):
    BEFORE_CLAIM = "before_claim"
    AFTER_CLAIM = "after_claim"
    BEFORE_INTENT = "before_intent"
    AFTER_INTENT = "after_intent"
    AFTER_CALL = "after_call"
    AFTER_ACCEPT = "after_accept"
    AFTER_SETTLE = "after_settle"
    BEFORE_RECORD = "before_record"
    AFTER_RECORD = "after_record"
    BEFORE_HINT = "before_hint"
    IN_SWEEP = "in_sweep"


class Crashed(BaseException):
    """What a test's hook raises to end a worker in this process: nothing of the runtime answers it."""


def _pass(point: CrashPoint) -> None:
    return None


crash_hook: Callable[[CrashPoint], None] = _pass
token_bytes: Callable[[int], bytes] = secrets.token_bytes


def crash_point(point: CrashPoint) -> None:
    crash_hook(point)


def kill_at(spec: str) -> Callable[[CrashPoint], None]:
    """A hook that kills this process once at a point: `after_call:/path/flag` dies where the flag file is.

    Several points are separated by commas. The flag is removed first, so that the process that takes over does
    not die at the same place.
    """
    pairs = (one.partition(":") for one in spec.split(","))
    flags = {CrashPoint(name): flag for name, _, flag in pairs}

    def hook(point: CrashPoint) -> None:
        if point not in flags:
            return
        try:
            os.unlink(flags[point])
        except FileNotFoundError:
            return
        os.kill(os.getpid(), signal.SIGKILL)

    return hook
