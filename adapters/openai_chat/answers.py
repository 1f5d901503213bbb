"""Chat completions as the runtime records them: from one JSON document, or put together from a stream's chunks."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from adapters.openai_chat import errors
from adapters.openai_chat.errors import AnswerMalformed, AnswerTooLong, AnswerTruncated, ContentFiltered

Record = dict[str, Any]
"""`content`, `model`, `finish_reason`, `id`, `usage` and, where the model calls tools, `tool_calls`."""


def whole(text: str) -> Record:
    """The record of a completion that came in one piece."""
    body = _object(text)
    if error := body.get("error"):
        raise errors.in_stream(error)
    choice = _choice(body)
    message = choice.get("message")
    if not isinstance(message, dict):
        raise AnswerMalformed(f"the model's answer has no message: {text[:200]}")
    return _record(body, message, choice.get("finish_reason"), body.get("usage"))


class Streamed:
    """A completion that arrives in pieces. `tell` hears the text of each."""

    def __init__(self, tell: Callable[[str], None], most_characters: int) -> None:
        self._tell = tell
        self._most = most_characters
        self._head: dict[str, Any] = {}
        self._content: list[str] = []
        self._calls: dict[int, dict[str, Any]] = {}
        self._size = 0
        self._finish_reason: str | None = None
        self._usage: Any = None

    def read(self, chunks: Iterable[bytes]) -> Record:
        """The record of the whole stream. Raises `AnswerTruncated` where its end is missing."""
        for text in events(chunks, self._most):
            if text == "[DONE]":
                break
            chunk = _object(text)
            try:
                self._take(chunk)
            except (AttributeError, TypeError, ValueError) as error:
                raise AnswerMalformed(
                    f"a chunk of the model's stream cannot be read: {text[:200]}"
                ) from error
        else:
            if self._finish_reason is None:
                raise AnswerTruncated("the model's stream ended in the middle of its answer")
        message: dict[str, Any] = {"content": "".join(self._content) if self._content else None}
        if self._calls:
            message["tool_calls"] = [self._calls[index] for index in sorted(self._calls)]
        return _record(self._head, message, self._finish_reason, self._usage)

    def _take(self, chunk: dict[str, Any]) -> None:
        if error := chunk.get("error"):
            raise errors.in_stream(error)
        self._head = self._head or chunk
        self._usage = chunk.get("usage") or self._usage
        if not chunk.get("choices"):
            return  # the last one holds the usage and nothing else
        choice = _choice(chunk)
        self._finish_reason = choice.get("finish_reason") or self._finish_reason
        delta = choice.get("delta") or {}
        if text := delta.get("content"):
            self._grow(text)
            self._content.append(text)
            self._tell(text)
        for call in delta.get("tool_calls") or ():
            self._add_call(call)

    def _add_call(self, piece: dict[str, Any]) -> None:
        function = piece.get("function") or {}
        call = self._calls.setdefault(
            int(piece.get("index", 0)),
            {"id": None, "type": "function", "function": {"name": "", "arguments": ""}},
        )
        call["id"] = call["id"] or piece.get("id")
        for name in ("name", "arguments"):
            self._grow(function.get(name) or "")
            call["function"][name] += function.get(name) or ""

    def _grow(self, text: str) -> None:
        self._size += len(text)
        if self._size > self._most:
            raise too_long(self._most)


def events(chunks: Iterable[bytes], most_bytes: int) -> Iterator[str]:
    """The data of server-sent events, one text for each."""
    rest, data = bytearray(), list[str]()
    for chunk in chunks:
        rest += chunk
        *lines, last = bytes(rest).split(b"\n")  # not `splitlines`: U+2028 may stand in a text
        rest = bytearray(last)
        if len(rest) > most_bytes:
            raise too_long(most_bytes)
        for line in lines:
            field, _, value = line.rstrip(b"\r").decode("utf-8", "replace").partition(":")
            if field == "data":
                data.append(value.removeprefix(" "))
            elif not field and not value and data:
                yield "\n".join(data)
                data = []


def too_long(most: int) -> AnswerTooLong:
    return AnswerTooLong(f"the model's answer is longer than {most:,} bytes")


def _object(text: str) -> dict[str, Any]:
    try:
        body = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise AnswerMalformed(f"the model's answer is not JSON ({error}): {text[:200]}") from error
    if not isinstance(body, dict):
        raise AnswerMalformed(f"the model's answer is no object: {text[:200]}")
    return body


def _choice(body: Mapping[str, Any]) -> dict[str, Any]:
    choices = body.get("choices")
    if not (isinstance(choices, list) and choices and isinstance(choices[0], dict)):
        raise AnswerMalformed("the model's answer has no choice")
    return choices[0]


def _record(head: Mapping[str, Any], message: Mapping[str, Any], finish_reason: Any, usage: Any) -> Record:
    if finish_reason == "content_filter":
        raise ContentFiltered("the model service cut the answer off: content_filter")
    record = {
        "content": message.get("content"),
        "model": head.get("model"),
        "finish_reason": finish_reason,
        "id": head.get("id"),
        "usage": _usage(usage if isinstance(usage, dict) else {}),
    }
    for name in ("tool_calls", "refusal"):
        if message.get(name):
            record[name] = message[name]
    return record


def _usage(usage: Mapping[str, Any]) -> dict[str, Any]:
    """Tokens; `cached_tokens` are among `input_tokens`. None where the service does not say."""
    details = usage.get("prompt_tokens_details")
    return {
        "input_tokens": usage.get("prompt_tokens"),
        "cached_tokens": details.get("cached_tokens") if isinstance(details, dict) else None,
        "output_tokens": usage.get("completion_tokens"),
    }
