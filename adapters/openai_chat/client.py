"""The client behind `llm` nodes. One request, no retry of its own: retries are rows."""

import json
import os
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import httpx

from runtime.conf import settings
from tools import NotSent, Refused
from tools.http.outcomes import LATER, REFUSED, retry_after

BUSY = LATER | {503}
"""Asking has no effect, so what a 503 says of the request before it does not matter."""

_local = threading.local()


def complete(request: Mapping[str, Any], *, timeout: float) -> dict[str, Any]:
    """Ask for one chat completion.

    Answers `{content, model, finish_reason, usage: {input_tokens, output_tokens}, id}`. Raises `NotSent` when the
    service cannot be reached or asks to come back later, `Refused` for a request that it will never take.
    """
    deadline = time.monotonic() + timeout
    asking = _client().stream("POST", "chat/completions", json=dict(request), timeout=timeout)
    try:
        with asking as answer:
            text = _body(answer, deadline)
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        raise NotSent(f"the model service at {_client().base_url} cannot be reached: {error}") from error
    if answer.status_code in BUSY:
        after = retry_after(answer.headers, datetime.now(UTC))
        raise NotSent(f"the model service is busy ({answer.status_code})", retry_after=after)
    if answer.status_code in REFUSED:
        raise Refused(f"the model service refused the request ({answer.status_code}): {text[:500]}")
    answer.raise_for_status()
    return _record(json.loads(text))


def _body(answer: httpx.Response, deadline: float) -> str:
    """All of it, where it is no larger than may be kept. The client's own timeout is for each chunk anew."""
    body = bytearray()
    for chunk in answer.iter_bytes():
        body += chunk
        if len(body) > settings().max_value_bytes:
            raise ValueError(f"the model's answer is longer than {settings().max_value_bytes:,} bytes")
        if time.monotonic() > deadline:
            raise httpx.ReadTimeout("the model's answer was not complete in time")
    return body.decode("utf-8", "replace")


def _record(body: Mapping[str, Any]) -> dict[str, Any]:
    choice = body["choices"][0]
    usage = body.get("usage") or {}
    record = {
        "content": choice["message"].get("content"),
        "model": body.get("model"),
        "finish_reason": choice.get("finish_reason"),
        "id": body.get("id"),
        "usage": {
            "input_tokens": usage.get("prompt_tokens"),
            "output_tokens": usage.get("completion_tokens"),
        },
    }
    if calls := choice["message"].get("tool_calls"):
        record["tool_calls"] = calls
    return record


def _client() -> httpx.Client:
    """One connection pool per thread, made anew after a fork."""
    if getattr(_local, "pid", None) != os.getpid():
        base = settings().model_base_url or "https://api.openai.com/v1"
        key = settings().model_api_key
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        _local.client = httpx.Client(base_url=base.rstrip("/") + "/", headers=headers)
        _local.pid = os.getpid()
    return _local.client  # type: ignore[no-any-return]
