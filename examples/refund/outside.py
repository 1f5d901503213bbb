"""How the tools speak to the payment service, and what its answers mean.

The runtime has to know one thing of a call that went wrong: did nothing happen, or can it not be told?
`NotSent` and `Refused` say that nothing did. Every other exception leaves it open, and that is also the right
answer to a 500, to a 409 (an earlier request with the key is still at work) and to a connection that breaks.
"""

import os
from datetime import timedelta
from functools import cache
from typing import Any

import httpx

from tools import NotSent, Refused

REFUSED = {400, 401, 403, 404, 405, 410, 413, 415, 422}
LATER = {425, 429, 503}
TIMEOUT = 15.0


def get(path: str, **query: str) -> dict[str, Any]:
    """Read; safe to repeat."""
    return _result(_send("GET", path, params=query))


def post(path: str, body: dict[str, Any], key: str) -> dict[str, Any]:
    """Act, under this idempotency key."""
    return _result(_send("POST", path, json=body, headers={"Idempotency-Key": key}))


def _send(method: str, path: str, **options: Any) -> httpx.Response:
    url = os.environ.get("AETHERIS_DEMO_PAYMENTS_URL", "http://127.0.0.1:8100")
    try:
        return _client(url).request(method, path, **options)
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        raise NotSent(f"the payment service at {url} cannot be reached: {error}") from error


@cache
def _client(url: str) -> httpx.Client:
    # A connection for each call: one that was kept could be closed by the other side just as the call is sent.
    limits = httpx.Limits(max_keepalive_connections=0)
    return httpx.Client(base_url=url, timeout=TIMEOUT, limits=limits, trust_env=False)


def _result(answer: httpx.Response) -> dict[str, Any]:
    if answer.status_code in LATER:
        raise NotSent(_message(answer), retry_after=_retry_after(answer))
    if answer.status_code in REFUSED:
        raise Refused(_message(answer))
    answer.raise_for_status()
    result: dict[str, Any] = answer.json()
    return result


def _message(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["error"]["message"])
    except (ValueError, LookupError, TypeError):
        return f"the payment service answered {answer.status_code}"


def _retry_after(answer: httpx.Response) -> timedelta | None:
    seconds = answer.headers.get("Retry-After", "")
    return timedelta(seconds=int(seconds)) if seconds.isdigit() else None
