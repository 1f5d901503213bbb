"""A context without a database: it keeps the effects of one run in memory, and injects them into another."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from pydantic_core import to_jsonable_python

import tools
from runtime.chain import canonical
from runtime.context import Context
from runtime.contract.errors import ReplayDiverged, ToolNotGiven
from runtime.contract.guard import Guard
from runtime.exceptions import AetherisError, CallInDoubt, CallRefused
from runtime.failures import describe
from runtime.reads import Read
from runtime.values import check
from tools import ToolError

if TYPE_CHECKING:
    from runtime.models import Step

END = "its end"


@dataclass(frozen=True)
class Effect:
    """One effect of a step: a call with its arguments, or a recorded value."""

    kind: str
    name: str
    arguments: str = ""
    """As canonical JSON."""

    def __str__(self) -> str:
        return f"{self.kind} {self.name}({self.arguments})" if self.arguments else f"{self.kind} {self.name}"


@dataclass
class Recorded:
    """An effect and what it ended in."""

    effect: Effect
    value: Any = None
    error: Exception | None = None

    def outcome(self) -> Any:
        if self.error is not None:
            raise self.error
        return as_stored(self.value)


Answers = Mapping[str, Any]
"""By name: a value, an exception to raise, or a function of the call's arguments."""


class MemoryContext(Context):
    """The context of a step in a test."""

    def __init__(
        self,
        step: Step,
        names: Mapping[str, Any],
        guard: Guard,
        *,
        answers: Answers | None = None,
        model: Any = None,
        http: Any = None,
        recorded: list[Recorded] | None = None,
    ) -> None:
        super().__init__(step, names)
        self.effects: list[Recorded] = []
        self.fault: AetherisError | None = None
        """What ends the trial, whether or not the step caught it."""
        self._guard = guard
        self._answers = answers or {}
        self._model = model
        self._http = http
        self._replayed = recorded

    def call_tool(self, name: str, arguments: Mapping[str, Any], *, call: str, compensate: Any = None) -> Any:
        registered = tools.get(name)
        with self._aside():
            checked = registered.checked(arguments) if registered else dict(arguments)
            check(checked, f"{self.step.key}.inputs")
            return self._effect(
                Effect("tool", call, canonical(checked).decode()), lambda: self._answer(name, checked)
            )

    def model(self, request: Mapping[str, Any], *, call: str | None = None) -> Any:
        asked = dict(request)
        with self._aside():
            effect = Effect("model", call or self._call_name("llm"), canonical(asked).decode())
            return self._effect(effect, lambda: self._completion(asked))

    def record(self, name: str, function: Callable[[], Any]) -> Any:
        with self._aside():
            return self._effect(Effect("value", name), function)

    def http(
        self,
        method: str,
        url: str,
        *,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        read = Read.of(method, url, params, headers)
        with self._aside():
            effect = Effect("http", f"{read.method} {read.url}")
            return dict(self._effect(effect, lambda: self._page(read)))

    def finish(self) -> None:
        """Raises `ReplayDiverged` for effects of the first run that this one did not repeat."""
        if self._replayed is not None and len(self.effects) < len(self._replayed):
            self._diverge(str(self._replayed[len(self.effects)].effect), END)

    @contextmanager
    def _aside(self) -> Iterator[None]:
        with self._guard.paused():
            yield

    def _effect(self, effect: Effect, make: Callable[[], Any]) -> Any:
        recorded = self._made(effect, make) if self._replayed is None else self._injected(effect)
        self.effects.append(recorded)
        return recorded.outcome() if self._replayed is not None else _first(recorded)

    def _made(self, effect: Effect, make: Callable[[], Any]) -> Recorded:
        try:
            value = make()
            check(value, f"{self.step.key}.{effect.name}")
            return Recorded(effect, _copied(value))
        except (CallRefused, CallInDoubt) as error:
            return Recorded(effect, error=error)

    def _injected(self, effect: Effect) -> Recorded:
        assert self._replayed is not None
        position = len(self.effects)
        expected = self._replayed[position] if position < len(self._replayed) else None
        if expected is None or expected.effect != effect:
            self._diverge(str(expected.effect) if expected else END, str(effect))
        return expected

    def _diverge(self, expected: str, got: str) -> NoReturn:
        self._end(ReplayDiverged(self.step.key, len(self.effects) + 1, expected, got))

    def _end(self, fault: AetherisError) -> NoReturn:
        self.fault = self.fault or fault
        raise self.fault

    def _answer(self, name: str, arguments: dict[str, Any]) -> Any:
        if name not in self._answers:
            self._end(ToolNotGiven(self.step.key, "tool", name))
        registered = tools.get(name)
        try:
            return to_jsonable_python(_given(self._answers[name], **arguments))
        except ToolError as refusal:
            raise CallRefused(name, {**describe(refusal), "permanent": refusal.permanent}) from refusal
        except Exception as error:
            if registered is not None and registered.policy.read_only:
                raise CallRefused(name, describe(error)) from error
            raise CallInDoubt(self.step.key, name, str(error)) from error

    def _page(self, read: Read) -> dict[str, Any]:
        if self._http is None:
            self._end(ToolNotGiven(self.step.key, "http", f"{read.method} {read.url}"))
        answer = _given(self._http, read.method, read.url)
        if isinstance(answer, Mapping) and "status" in answer:
            return {"headers": {}, "body": None, **answer}
        return {"status": 200, "headers": {}, "body": answer}

    def _completion(self, request: dict[str, Any]) -> Any:
        if self._model is None:
            self._end(ToolNotGiven(self.step.key, "model", str(request.get("model"))))
        answer = _given(self._model, request)
        return {"content": answer} if isinstance(answer, str) else answer


def _given(answer: Any, *args: Any, **kwargs: Any) -> Any:
    if isinstance(answer, BaseException):
        raise answer
    return answer(*args, **kwargs) if callable(answer) else answer


def _first(recorded: Recorded) -> Any:
    """The first run has the value as it was made; only later ones have it from the database."""
    if recorded.error is not None:
        raise recorded.error
    return copy.deepcopy(recorded.value)


def _copied(value: Any) -> Any:
    return json.loads(json.dumps(value))


def as_stored(value: Any) -> Any:
    """A copy of a JSON value as PostgreSQL gives it back: jsonb puts shorter keys first."""
    if isinstance(value, dict):
        keys = sorted(value, key=lambda key: (len(key.encode()), key.encode()))
        return {key: as_stored(value[key]) for key in keys}
    return [as_stored(item) for item in value] if isinstance(value, list) else value
