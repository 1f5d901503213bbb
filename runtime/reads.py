"""`context.http`: reading over HTTP as a recorded value. What was read once is what every later attempt gets.

An answer is whatever the service says for good: also 404. What another attempt may mend (no connection, 5xx, 408, 425,
429, a broken body) is no answer and is not recorded.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx

from runtime import chain
from runtime.callees import CallContext
from runtime.conf import settings
from runtime.exceptions import CallRefused, Permanent
from runtime.failures import describe
from tools import ToolError
from tools.http import HttpClient, OutcomeUnknown, outcomes

if TYPE_CHECKING:
    from runtime.context import Context

READS = ("GET", "HEAD")
KEPT_HEADERS = ("content-type", "etag", "last-modified", "link", "location", "date")


@dataclass(frozen=True)
class Read:
    """One request. Headers are sent and not kept: they are where credentials stand."""

    method: str
    url: str
    headers: Mapping[str, str]

    @classmethod
    def of(
        cls, method: str, url: str, params: Mapping[str, Any] | None, headers: Mapping[str, str] | None
    ) -> Read:
        """Raises `Permanent` for what is no read."""
        if method.upper() not in READS:
            raise Permanent(
                f"context.http reads ({' or '.join(READS)}); {method.upper()} may have an effect outside: use a tool."
            )
        try:
            whole = httpx.URL(url, params=params) if params else httpx.URL(url)
        except (httpx.InvalidURL, TypeError, ValueError) as error:
            raise Permanent(f"context.http cannot ask for {url!r}: {error}") from error
        return cls(method.upper(), str(whole), dict(headers or {}))

    @property
    def name(self) -> str:
        """Of the recorded value. The address itself may hold a secret, and stays out of the events."""
        return f"http.{hashlib.sha256(chain.canonical([self.method, self.url])).hexdigest()[:16]}"

    def send(self, context: Context) -> dict[str, Any]:
        """`status`, `headers` (some) and `body`: JSON where the service says so, else text, None when empty."""
        client = HttpClient(
            timeout=settings().http_timeout_seconds,
            max_bytes=settings().http_max_bytes,
            internal=settings().http_internal,
        )
        nothing_to_repeat = CallContext(context, "", float("inf"))
        try:
            answer = client.read(nothing_to_repeat, self.method, self.url, headers=self.headers)
            body = outcomes.result(answer)
        except (ToolError, OutcomeUnknown) as error:
            raise CallRefused("http", _told(error)) from error
        kept = {name: answer.headers[name] for name in KEPT_HEADERS if name in answer.headers}
        return {"status": answer.status_code, "headers": kept, "body": body}


def _told(error: ToolError | OutcomeUnknown) -> dict[str, Any]:
    told = {**describe(error), "permanent": isinstance(error, ToolError) and error.permanent}
    if error.retry_after is not None:
        told["retry_after"] = error.retry_after.total_seconds()
    return told
