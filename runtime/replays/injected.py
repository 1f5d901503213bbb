"""The context of a step that runs again: every effect comes from the record; one that is not there is a divergence."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NoReturn

import tools
from runtime.chain import canonical
from runtime.context import PATCHED, Context
from runtime.contract.guard import Guard
from runtime.contract.recording import as_stored
from runtime.exceptions import CallAbandoned, CallInDoubt, CallRefused
from runtime.intents import LONGEST_NAME
from runtime.replays.record import CALL, VALUE, Effect
from runtime.replays.report import Diverged, LeftOut, Withheld, cut
from runtime.values import check, check_text

if TYPE_CHECKING:
    from runtime.models import Step

END = "its end"
ANSWER_PARTS = ("tool.result", "output")
ARGUMENT_PARTS = ("tool.arguments", "llm.messages")
HAPPENED = ("committed", "compensated")
NOT_MADE = ("reserved", "denied", "cancelled")
"""Calls that a policy or a person did not let the step make: who, and why, is not among its effects."""


class ReplayContext(Context):
    """Hands out what an attempt had been given. Nothing leaves, nothing is written."""

    def __init__(
        self,
        step: Step,
        names: Mapping[str, Any],
        bindings: Mapping[str, Any],
        effects: list[Effect],
        values: Mapping[tuple[int, str], Any],
        guard: Guard,
    ) -> None:
        super().__init__(step, names, bindings=bindings)
        self.fault: Diverged | LeftOut | None = None
        """What ends the replay, whether or not the step caught it."""
        self.injected = 0
        self._effects = {effect.key: effect for effect in effects}
        self._open = [one for one in effects if one.attempt == step.attempt and not _is_patch(one)]
        """What this attempt did itself, in its order, as far as it has not been repeated."""
        self._values = values
        self._guard = guard

    def call_tool(self, name: str, arguments: Mapping[str, Any], *, call: str, compensate: Any = None) -> Any:
        with self._guard.paused():
            registered = tools.get(name)
            checked = registered.checked(arguments) if registered else dict(arguments)
            return self._called("tool", name, call, checked)

    def model(self, request: Mapping[str, Any], *, call: str | None = None) -> Any:
        with self._guard.paused():
            asked = dict(request)
            return self._called("model", str(asked.get("model")), call or self._call_name("llm"), asked)

    def record(self, name: str, function: Callable[[], Any]) -> Any:
        with self._guard.paused():
            check_text(name, f"{self.step.key} name of a recorded value", 200)
            ordinal = self._ordinals[f"effect:{name}"]
            self._ordinals[f"effect:{name}"] += 1
            effect = self._next((VALUE, name, ordinal), f"value {name}")
            return as_stored(self._value(effect.event, "effects")[effect.position])

    def patched(self, name: str) -> bool:
        """What was recorded before the step had the marker takes the old side."""
        effect = self._effects.get((VALUE, PATCHED + name, 0))
        return effect is not None and bool(self._value(effect.event, "effects")[effect.position])

    def wait(self, seconds: float) -> bool:
        """No time passes."""
        return False

    def finish(self, ending: str) -> None:
        """Raises `Diverged` for what the attempt had done and did not do again before its `ending`."""
        if self._open:
            self._diverge(str(self._open[0]), ending)

    def _called(self, kind: str, callee: str, call: str, arguments: dict[str, Any]) -> Any:
        check_text(call, f"{self.step.key} name of a call", LONGEST_NAME)
        check_text(callee, f"{self.step.key} name of a {'llm' if kind == 'model' else kind}", LONGEST_NAME)
        check(arguments, f"{self.step.key}.inputs")
        asked = f"{kind} {call}({_text(arguments)})"
        effect = self._next((CALL, call, 0), asked)
        if effect.state in NOT_MADE:
            self._end(LeftOut(f"Call {call!r} was not allowed.", "not allowed"))
        self._compare(effect, callee, arguments, asked)
        if effect.attempt == self.step.attempt:
            self.calls_sent += 1
        return self._outcome(effect)

    def _compare(self, effect: Effect, callee: str, arguments: dict[str, Any], asked: str) -> None:
        recorded = self._value(effect.event, *ARGUMENT_PARTS)
        if effect.callee != callee:
            self._diverge(f"{effect} of {effect.callee}", f"{effect} of {callee}")
        if canonical(recorded) != canonical(arguments):
            self._diverge(f"{asked.partition('(')[0]}({_text(recorded)})", asked)

    def _outcome(self, effect: Effect) -> Any:
        call = effect.key[1]
        if effect.state in HAPPENED:
            return as_stored(self._value(effect.answer, *ANSWER_PARTS))
        if effect.state == "abandoned":
            raise CallAbandoned(self.step.key, call)
        if effect.state in ("refused", "failed"):
            raise CallRefused(effect.callee, self._value(effect.answer, "error"))
        raise CallInDoubt(self.step.key, call, f"it was {effect.state}")

    def _next(self, key: tuple[str, str, int], asked: str) -> Effect:
        effect = self._effects.get(key)
        if effect is None or (effect in self._open and effect is not self._open[0]):
            self._diverge(str(self._open[0]) if self._open else END, asked)
        if self._open and effect is self._open[0]:
            self._open.pop(0)
        self.injected += 1
        return effect

    def _value(self, seq: int, *names: str) -> Any:
        for name in names:
            if (seq, name) in self._values:
                return self._values[seq, name]
        self._end(Withheld(seq, names[0]))

    def _diverge(self, expected: str, got: str) -> NoReturn:
        self._end(Diverged("effect", expected, got))

    def _end(self, fault: Diverged | LeftOut) -> NoReturn:
        self.fault = self.fault or fault
        raise self.fault

    def _intent(self, call: str, callee: Any, arguments: Any) -> NoReturn:
        """What would go through the ledger in a way that this context does not know."""
        self._diverge(END, f"call {call}")


def _is_patch(effect: Effect) -> bool:
    """Markers may go when nobody needs them any more: not to meet one is no divergence."""
    return effect.key[0] == VALUE and effect.key[1].startswith(PATCHED)


def _text(value: Any) -> str:
    return cut(json.dumps(value, ensure_ascii=False, sort_keys=True))
