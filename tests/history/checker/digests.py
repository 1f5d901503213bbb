"""Canonical JSON (RFC 8785), digests (RFC 6962) and commitments (RFC 9901), written from the documents."""

import base64
import hashlib
import json
from decimal import Decimal
from json.encoder import encode_basestring
from typing import Any

MOST_EXACT = 2**53 - 1


def canonical(value: Any) -> str:
    """One addition to RFC 8785: a whole number that no double holds is written as its digits."""
    if isinstance(value, dict):
        keys = sorted(value, key=lambda key: key.encode("utf-16-be"))
        return "{" + ",".join(f"{_text(key)}:{canonical(value[key])}" for key in keys) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(canonical, value)) + "]"
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return _whole(value)
    return _text(value)


def digest(header: bytes) -> str:
    return hashlib.sha256(b"\x00" + header).hexdigest()


def commitment(salt: str, name: str, value: Any) -> str:
    disclosure = _base64url(canonical([salt, name, value]).encode())
    return _base64url(hashlib.sha256(disclosure.encode()).digest())


def _text(value: Any) -> str:
    return encode_basestring(value) if isinstance(value, str) else json.dumps(value)


def _whole(number: int) -> str:
    if abs(number) <= MOST_EXACT:
        return str(number)
    double = float(number)
    return _number(double) if Decimal(repr(double)) == number else str(number)


def _number(number: float) -> str:
    """As ECMAScript writes it."""
    if number == 0:
        return "0"
    sign, places, exponent = Decimal(repr(number)).normalize().as_tuple()
    digits = "".join(map(str, places))
    assert isinstance(exponent, int)
    point = exponent + len(digits)
    return "-" * sign + _placed(digits, point)


def _placed(digits: str, point: int) -> str:
    if len(digits) <= point <= 21:
        return digits + "0" * (point - len(digits))
    if 0 < point <= 21:
        return f"{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return "0." + "0" * -point + digits
    mantissa = digits[0] + (f".{digits[1:]}" if len(digits) > 1 else "")
    return f"{mantissa}e{point - 1:+d}"


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
