"""How the tools speak to the payment service, and what its answers mean.

The runtime has to know one thing of a call that went wrong: did nothing happen, or can it not be told?
"""

import os
from typing import Any

import httpx

from tools import NotSent

REFUSED = {400, 401, 403, 404, 405, 410, 413, 415, 422}


def get(path: str, **query: str) -> dict[str, Any]:
    """Read; safe to repeat."""
    return _result(_send("GET", path, params=query))


def post(path: str, body: dict[str, Any], key: str) -> dict[str, Any]:
    """Act, under this idempotency key."""
    return _result(_send("POST", path, json=body, headers={"Idempotency-Key": key}))


def _send(method: str, path: str, **options: Any) -> httpx.Response:
    url = os.environ.get("AETHERIS_DEMO_PAYMENTS_URL", "http://127.0.0.1:8100")
    try:
        return httpx.request(method, url + path, timeout=15, trust_env=False, **options)
    except httpx.ConnectError as error:
        raise NotSent(f"the payment service at {url} cannot be reached: {error}") from error


def _result(answer: httpx.Response) -> dict[str, Any]:
    if answer.status_code in REFUSED:
        raise NotSent(answer.json()["error"]["message"])
    answer.raise_for_status()
    result: dict[str, Any] = answer.json()
    return result
