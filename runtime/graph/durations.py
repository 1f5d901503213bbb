"""Durations as people write them: `30`, `"30s"`, `"1h30m"`, `"2d"`."""

import math
import re
from datetime import timedelta

UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
PART = r"([0-9]{1,12}(?:\.[0-9]{1,9})?)(ms|s|m|h|d|w)"
PATTERN = rf"^(?:{PART})+$"
LONGEST = 10 * 365 * 86400.0


def seconds(duration: object) -> float:
    """The duration in seconds; raises ValueError for anything that is not positive and at most ten years."""
    value = _read(duration)
    if not (math.isfinite(value) and 0 < value <= LONGEST):
        raise ValueError(f"{duration!r} is not a duration between zero and ten years")
    return value


def written(duration: timedelta) -> str:
    """Whole seconds as people write them: `1h30m`."""
    left, text = int(duration.total_seconds()), ""
    for unit in ("d", "h", "m", "s"):
        count, left = divmod(left, int(UNITS[unit]))
        text += f"{count}{unit}" if count else ""
    return text or "0s"


def _read(duration: object) -> float:
    if isinstance(duration, timedelta):
        return duration.total_seconds()
    if isinstance(duration, (int, float)) and not isinstance(duration, bool):
        return float(duration) if abs(duration) <= LONGEST else math.inf
    if isinstance(duration, str) and len(duration) <= 64 and re.fullmatch(PATTERN, duration):
        return sum(float(number) * UNITS[unit] for number, unit in re.findall(PART, duration))
    raise ValueError(f'{duration!r} is not a duration: write seconds as a number, or "30s", "5m", "2d"')
