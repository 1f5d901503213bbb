"""Canonical JSON, commitments and digests: pure functions, so that anyone can check them again."""

from typing import Any

import rfc8785


def canonical(value: Any) -> bytes:
    """RFC 8785 (JCS)."""
    return rfc8785.dumps(value)
