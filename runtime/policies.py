"""Retry arithmetic: pure functions of a step's failures and its `retry` config."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from runtime.conf import settings
from runtime.graph import seconds


def backoff(failures: int, retry: Mapping[str, Any], chance: float) -> timedelta:
    """How long to wait after the `failures`-th failure. `chance` in [0, 1) is the jitter.

    `initial * factor**(failures - 1)`, at most `max`, then up to half of it is taken off by chance, so that
    steps that failed together do not come back together.
    """
    initial = seconds(retry["backoff"]) if "backoff" in retry else settings().backoff_seconds
    cap = seconds(retry["max_backoff"]) if "max_backoff" in retry else settings().backoff_cap_seconds
    factor = float(retry.get("factor", 2.0))
    try:
        wait = min(cap, initial * factor ** (failures - 1))
    except OverflowError:  # before the cap could apply
        wait = cap
    return timedelta(seconds=wait * (1 - chance / 2) if retry.get("jitter", True) else wait)
