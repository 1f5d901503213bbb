"""What is written of an error: what it was, what caused it, where it was raised, and what had been tried before.

No values of variables, and no source lines, since both may show what must not be kept. Texts that look like secrets
are masked, wherever an error's own message repeats one.
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from runtime import clock

if TYPE_CHECKING:
    from runtime.models import Step

CAUSES = 5
FRAMES = 12
TRIED = 20
MASK = "***"
SECRET = re.compile(
    r"""(?ix)
      (?<= :// ) [^/\s:@]{0,200} : [^/\s@]{1,200} (?= @ )          # https://user:password@host
    | \b (?: bearer | basic ) \s+ [\w.~+/=-]{8,}                  # an Authorization header
    | \b (?: sk | pk | rk | ghp | xox[abp] ) [-_] [\w-]{8,}       # keys that say what they are
    """
)
NAMED = re.compile(r"""(?i)((?:passwo?r?d|secret|token|api[_-]?key)["']?\s*[:=]\s*["']?)[^\s"',;&)}]+""")


def describe(error: BaseException) -> dict[str, Any]:
    """An error as JSON: type and message, and the chain of what caused it."""
    described: dict[str, Any] = {"type": type(error).__name__, "message": text(error)[:2000]}
    inner, seen = described, {id(error)}
    for _ in range(CAUSES):
        cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        if cause is None or id(cause) in seen:
            break
        inner["cause"] = {"type": type(cause).__name__, "message": text(cause)[:500]}
        inner, error = inner["cause"], cause
        seen.add(id(error))
    return described


def with_traceback(error: BaseException) -> dict[str, Any]:
    """The same, and where it was raised: file, line and function, the innermost last."""
    frames = traceback.extract_tb(error.__traceback__)[-FRAMES:]
    return {
        **describe(error),
        "traceback": [clean(f"{frame.filename}:{frame.lineno} in {frame.name}") for frame in frames],
    }


def recorded(step: Step, error: Mapping[str, Any], after: timedelta | None = None) -> dict[str, Any]:
    """The error as a step keeps it: with what was tried, this attempt last, and how long it waits `after` it."""
    this = {"attempt": step.attempt, "at": clock.now().isoformat(), "type": str(error.get("type", ""))[:200]}
    if after is not None:
        this["after"] = round(after.total_seconds(), 3)
    before = (step.error or {}).get("tried", [])
    return {**error, "tried": [*before, this][-TRIED:]}


def text(error: BaseException) -> str:
    try:
        return masked(clean(str(error)))
    except BaseException as unspeakable:  # an error's own text may raise as well, SystemExit included
        return f"its message raised {type(unspeakable).__name__}"


def masked(message: str) -> str:
    return NAMED.sub(rf"\1{MASK}", SECRET.sub(MASK, message))


def clean(message: str) -> str:
    """Text that PostgreSQL and JSON can hold: no NUL, no lone surrogates."""
    return message.encode("utf-8", "replace").decode("utf-8").replace("\x00", "\ufffd")
