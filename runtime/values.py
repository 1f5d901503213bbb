"""Values from outside are checked at the edge, and refused with the place named."""

from typing import Any

from runtime import strict_json
from runtime.conf import settings
from runtime.exceptions import InputInvalid


def check(value: Any, path: str) -> int:
    """The size as JSON; raises `InputInvalid` unless the value is JSON that PostgreSQL can hold, within the limits."""
    try:
        return strict_json.check(
            value, path, max_bytes=settings().max_value_bytes, max_depth=settings().max_depth
        )
    except strict_json.InvalidValue as error:
        raise InputInvalid(error.path or path, error.reason) from error


def check_text(value: str | None, path: str, longest: int) -> None:
    if value is None:
        return
    check(value, path)
    if not isinstance(value, str):
        raise InputInvalid(path, f"must be a text, not {type(value).__name__}")
    if not 0 < len(value) <= longest:
        raise InputInvalid(path, f"must have 1 to {longest} characters, not {len(value)}")
