"""The endpoints of the scripted model: chat completions, whole or streamed, and a count of the calls."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from hashlib import sha256
from threading import Lock
from time import time
from typing import Any

from examples.local_service.faults import Faults
from examples.local_service.http import Answer, Handler, Rejected, Request, Service
from examples.model.script import Reply, count_tokens, reply_to, said

MODEL = "scripted-1"


class ModelService(Service):
    """`POST /v1/chat/completions` by script; `GET /calls` says how often each prompt was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.faults = Faults(self.stopping)
        self._lock = Lock()
        self._replies: list[dict[str, Any]] = []
        self._by_prompt: Counter[str] = Counter()
        self._by_model: Counter[str] = Counter()

    def routes(self) -> dict[str, Handler]:
        return {
            "POST /v1/chat/completions": self.complete,
            "GET /v1/models": self.list_models,
            "GET /calls": self.show_calls,
            "POST /replies": self.add_reply,
            "DELETE /replies": self.clear_replies,
            "POST /faults": self.faults.add,
            "GET /faults": self.faults.list,
            "DELETE /faults": self.faults.clear,
            "GET /healthz": self.show_health,
        }

    def complete(self, request: Request) -> Answer:
        asked = request.fields()
        messages = _messages(asked)
        number, prompt = self._count(asked, messages)
        fault = self.faults.meet(request)
        self.faults.strike(fault, "before")
        reply = reply_to(messages, tuple(self._replies))
        self.faults.strike(fault, "after")
        completion = _completion(messages, reply, f"chatcmpl-{prompt[:16]}-{number}")
        truncated = fault is not None and fault.kind == "truncate"
        if asked.get("stream"):
            with_usage = bool((asked.get("stream_options") or {}).get("include_usage"))
            return Answer(stream=_events(completion, with_usage), truncated=truncated)
        return Answer(completion, truncated=truncated)

    def list_models(self, request: Request) -> Answer:
        return Answer({"object": "list", "data": [{"id": MODEL, "object": "model", "owned_by": "examples"}]})

    def show_calls(self, request: Request) -> Answer:
        """How many calls came in, by model and by prompt (SHA-256 of the messages)."""
        by_prompt = self._by_prompt
        return Answer({"total": by_prompt.total(), "by_model": self._by_model, "by_prompt": by_prompt})

    def add_reply(self, request: Request) -> Answer:
        """Answer messages that match a regular expression with this `content` or these `tool_calls`."""
        reply = request.fields()
        try:
            re.compile(reply.get("match", ""))
        except (re.error, TypeError) as error:
            raise Rejected(422, f"The match is not a regular expression: {error}") from error
        self._replies.append(reply)
        return Answer(reply, 201)

    def clear_replies(self, request: Request) -> Answer:
        self._replies.clear()
        return Answer({"replies": []})

    def show_health(self, request: Request) -> Answer:
        return Answer({"status": "ok"})

    def _count(self, asked: dict[str, Any], messages: list[dict[str, Any]]) -> tuple[int, str]:
        prompt = sha256(json.dumps(messages, sort_keys=True).encode()).hexdigest()
        with self._lock:
            self._by_prompt[prompt] += 1
            self._by_model[str(asked.get("model"))] += 1
            return self._by_prompt[prompt], prompt


def _messages(asked: dict[str, Any]) -> list[dict[str, Any]]:
    messages = asked.get("messages")
    if not (isinstance(messages, list) and messages and all(isinstance(item, dict) for item in messages)):
        raise Rejected(400, "'messages' must be a list of messages that is not empty.")
    return messages


def _completion(messages: list[dict[str, Any]], reply: Reply, name: str) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": reply.content}
    if reply.tool_calls:
        message["tool_calls"] = [_tool_call(call, place) for place, call in enumerate(reply.tool_calls)]
    prompt_tokens = count_tokens(said(messages))
    completion_tokens = count_tokens(reply.content or json.dumps(reply.tool_calls))
    return {
        "id": name,
        "object": "chat.completion",
        "created": int(time()),
        "model": MODEL,
        "choices": [
            {
                "index": 0,
                "message": message,
                "logprobs": None,
                "finish_reason": "tool_calls" if reply.tool_calls else "stop",
            }
        ],
        "usage": {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": prompt_tokens + completion_tokens,
        },
    }


def _tool_call(call: dict[str, Any], place: int) -> dict[str, Any]:
    arguments = call.get("arguments", {})
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    function = {"name": call.get("name"), "arguments": text}
    return {"id": f"call_{place}", "type": "function", "function": function}


def _events(completion: dict[str, Any], with_usage: bool) -> Iterator[bytes]:
    choice = completion["choices"][0]
    yield _chunk(completion, {"role": "assistant", "content": ""})
    for piece in re.findall(r"\S+\s*|\s+", choice["message"]["content"] or ""):
        yield _chunk(completion, {"content": piece})
    for place, call in enumerate(choice["message"].get("tool_calls", ())):
        yield _chunk(completion, {"tool_calls": [{"index": place, **call}]})
    yield _chunk(completion, {}, choice["finish_reason"])
    if with_usage:
        yield _event(_head(completion) | {"choices": [], "usage": completion["usage"]})
    yield b"data: [DONE]\n\n"


def _chunk(completion: dict[str, Any], delta: dict[str, Any], finish_reason: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
    return _event(_head(completion) | {"choices": [choice]})


def _head(completion: dict[str, Any]) -> dict[str, Any]:
    kept = {name: completion[name] for name in ("id", "created", "model")}
    return kept | {"object": "chat.completion.chunk"}


def _event(value: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"
