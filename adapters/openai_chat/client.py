"""The client behind `llm` nodes. One request, no retry of its own: retries are rows."""

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import httpx

from adapters.openai_chat import answers, errors
from adapters.openai_chat.errors import AnswerTruncated, ModelTimedOut, ModelUnavailable
from runtime.conf import settings
from tools.http.outcomes import retry_after

_local = threading.local()


def complete(
    request: Mapping[str, Any], *, timeout: float, tell: Callable[[str], None] | None = None
) -> dict[str, Any]:
    """Ask for one chat completion; with `stream` in the request, `tell` hears the text as it arrives.

    Answers `{content, model, provider, finish_reason, id, usage: {input_tokens, cached_tokens, output_tokens}}`, and
    `tool_calls` where the model makes some. Raises the errors of `adapters.openai_chat.errors`.
    """
    deadline = time.monotonic() + timeout
    client = _client()
    asking = client.stream("POST", "chat/completions", json=_body(request), timeout=timeout)
    try:
        with asking as answer:
            record = _record(answer, _in_time(answer, deadline), tell or _nobody)
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        raise ModelUnavailable(
            f"the model service at {client.base_url} cannot be reached: {error}"
        ) from error
    except httpx.TimeoutException as error:
        raise ModelTimedOut(f"the model's answer was not complete within {timeout:.0f} seconds") from error
    except httpx.TransportError as error:
        raise AnswerTruncated(f"the connection to the model service broke: {error}") from error
    return record | {"provider": client.base_url.host}


def _body(request: Mapping[str, Any]) -> dict[str, Any]:
    if not request.get("stream"):
        return dict(request)
    return {**request, "stream_options": {"include_usage": True, **(request.get("stream_options") or {})}}


def _record(answer: httpx.Response, body: Iterator[bytes], tell: Callable[[str], None]) -> dict[str, Any]:
    most = settings().max_value_bytes
    if answer.status_code != 200:
        after = retry_after(answer.headers, datetime.now(UTC))
        raise errors.of_status(answer.status_code, _text(body, most), after)
    if answer.headers.get("content-type", "").startswith("text/event-stream"):
        return answers.Streamed(tell, most).read(body)
    return answers.whole(_text(body, most))


def _in_time(answer: httpx.Response, deadline: float) -> Iterator[bytes]:
    """The body, until its time is over: the client's own timeout is for each chunk anew."""
    for chunk in answer.iter_bytes():
        yield chunk
        if time.monotonic() > deadline:
            raise httpx.ReadTimeout("the model's answer was not complete in time")


def _text(body: Iterator[bytes], most: int) -> str:
    text = bytearray()
    for chunk in body:
        text += chunk
        if len(text) > most:
            raise answers.too_long(most)
    return text.decode("utf-8", "replace")


def _nobody(text: str) -> None:
    """Hears the tokens of a stream that nobody watches."""


def _client() -> httpx.Client:
    """One connection pool per thread, made anew after a fork."""
    if getattr(_local, "pid", None) != os.getpid():
        base = settings().model_base_url or "https://api.openai.com/v1"
        key = settings().model_api_key
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        _local.client = httpx.Client(base_url=base.rstrip("/") + "/", headers=headers)
        _local.pid = os.getpid()
    return _local.client  # type: ignore[no-any-return]
