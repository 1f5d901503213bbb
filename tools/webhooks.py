"""Webhooks: who may tell us how a call ended, how that is proved, and what it says.

A provider is declared in `tools.py` beside the tools that it settles: `@webhooks.provider("bank", verify=…)` over a
function that reads one event. The signature is checked over the raw body, before anything reads it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from tools.answers import Failed, Happened


class BadSignature(Exception):
    """The request is not from the provider, or not from now. Nothing of it is kept."""


@dataclass(frozen=True, slots=True)
class Notice:
    """What one webhook says: of which call, and how it ended.

    `key` is our idempotency key, where the provider hands it back; `external_id` is its own name for the call, as
    in `Pending.external_id`. One of them is enough.
    """

    ended: Happened | Failed
    key: str = ""
    external_id: str = ""


Headers = Mapping[str, str]
"""With lower-case names."""
Verify = Callable[[Headers, bytes], str]
"""Answers the id of the event, the same each time it is delivered; raises `BadSignature`."""
Read = Callable[[Any], Notice | None]


@dataclass(frozen=True)
class Provider:
    """`read` turns the body, parsed as JSON, into what it says; None where that is no business of ours."""

    name: str
    verify: Verify
    read: Read

    @property
    def where(self) -> str:
        return f"{self.read.__module__}.{self.read.__qualname__}"


NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,99}")
_providers: dict[str, Provider] = {}


def provider(name: str, *, verify: Verify) -> Callable[[Read], Read]:
    """Declare whose webhooks come to `/api/v1/webhooks/NAME`. Two providers of one name are a mistake."""
    if not NAME.fullmatch(name):
        raise ValueError(
            f"a provider's name is part of an address: 1 to 100 of a-z, 0-9, '_', '-', not {name!r}"
        )

    def declare(read: Read) -> Read:
        declared = Provider(name, verify, read)
        known = _providers.get(name)
        if known is not None and known.where != declared.where:
            raise ValueError(f"two providers are named {name!r}: {known.where} and {declared.where}")
        _providers[name] = declared
        return read

    return declare


def get(name: str) -> Provider | None:
    return _providers.get(name)


def registered() -> dict[str, Provider]:
    return dict(_providers)


SECRET_PREFIX = "whsec_"


@dataclass(frozen=True)
class StandardWebhooks:
    """Signatures as https://www.standardwebhooks.com says, with HMAC-SHA256.

    `secrets` are `whsec_` and base64, or a function that answers them now; while one replaces another both are
    listed. A request that was signed more than `tolerance` seconds ago, or as long ahead, is refused.
    """

    secrets: Collection[str] | Callable[[], Collection[str]]
    tolerance: float = 300.0
    now: Callable[[], float] = time.time

    def __call__(self, headers: Headers, body: bytes) -> str:
        event, moment, given = (
            _header(headers, f"webhook-{name}") for name in ("id", "timestamp", "signature")
        )
        if (
            not moment.isascii()
            or not moment.isdecimal()
            or abs(self.now() - int(moment[:15])) > self.tolerance
        ):
            raise BadSignature("webhook-timestamp is not a moment of the last minutes")
        secrets = self.secrets() if callable(self.secrets) else self.secrets
        expected = [sign(secret, event, moment, body) for secret in secrets]
        # Each is compared with each, in constant time, however early one fits.
        fits = [
            hmac.compare_digest(one.encode(), other.encode("utf-8", "replace"))
            for one in expected
            for other in given.split(" ")
        ]
        if not any(fits):
            raise BadSignature("no signature fits the body")
        return event


def sign(secret: str, event: str, moment: str, body: bytes) -> str:
    """One signature: `v1,` and base64 of HMAC-SHA256 over `id.timestamp.body`."""
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except binascii.Error as error:
        raise ValueError("a webhook secret is 'whsec_' and base64") from error
    signed = f"{event}.{moment}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def _header(headers: Headers, name: str) -> str:
    value = headers.get(name, "")
    if not 0 < len(value) <= 1000:
        raise BadSignature(f"header {name} is missing")
    return value
