"""What a running step may use: its inputs, tools, models, and recorded clock, random and ids."""

from __future__ import annotations

import random as _random
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal
from uuid import UUID

from runtime import agents, blobs, clock, code, compensations, expressions, grants, ports, settlements
from runtime.callees import ModelCallee, tool_callee
from runtime.coroutines import Aside, beside_the_loop
from runtime.intents import Intent
from runtime.invocations import Invocation
from runtime.narrative import Narrative
from runtime.outages import wait_out
from runtime.reads import Read
from runtime.settlements import Settlement
from runtime.values import check, check_text

if TYPE_CHECKING:
    from runtime.exceptions import CallInDoubt, CallPending
    from runtime.models import Step
    from runtime.outcomes import Later, Waiting


PATCHED = "patched:"


class Context:
    """One attempt of one step. Values that it hands out are recorded, so a later attempt gets the same ones."""

    def __init__(
        self,
        step: Step,
        names: Mapping[str, Any],
        *,
        ridden: tuple[Intent, dict[str, Any]] | None = None,
        bindings: Mapping[str, Any] | None = None,
    ) -> None:
        self.step = step
        self.bindings = bindings or {}
        """What the step's scope binds, such as `item` and `index`."""
        self.names = names
        """`input` and the results of the steps that this one refers to."""
        self.unsettled: list[Settlement] = []
        self.held: list[Waiting | Later] = []
        """Of calls that may not be made yet, until a person allows them or their turn comes: the step waits for the
        first, whatever its code does."""
        self.doubts: list[CallInDoubt] = []
        """Calls of this attempt whose outcome is not known: the step cannot complete over them."""
        self.pending: CallPending | None = None
        """A call that the outside works on: the step waits for it, whatever its code makes of that."""
        self.aside = Aside()
        self.result_bytes = 0
        """Of what the step ended in, as JSON."""
        self.calls_sent = 0
        """In this attempt; a recorded result costs none."""
        self.fresh_effects: list[dict[str, Any]] = []
        self.narrative = Narrative(step)
        self.settle_at_once = True
        """Whether a call's outcome is written when it is known, or with the step's record."""
        self._ridden = ridden
        self._ordinals: Counter[str] = Counter()
        self._asked: set[str] = set()
        self._patches: dict[str, bool] = {}
        self._recorded: dict[tuple[str, int], Any] | None = None
        self._deadline = time.monotonic() + step.timeout
        self._cancelled = threading.Event()

    # Inputs

    @property
    def input(self) -> Any:
        """The job's input."""
        return self.names["input"]

    @cached_property
    def resume(self) -> dict[str, Any] | None:
        """What woke the step: `{"outcome": "signalled", "payload": …}` or `{"outcome": "timed_out"}`."""
        resume = self.step.resume
        if not resume or type(payload := blobs.mark(resume.get("payload"))) is not blobs.Kept:
            return resume
        return {**resume, "payload": wait_out(lambda: blobs.whole(self.step.tenant, payload))}

    def evaluate(self, template: Any) -> Any:
        """A value in which `${…}` stands for expressions. Raises `ExpressionFailed`."""
        return expressions.evaluate(template, self.names)

    def condition(self, expression: str) -> Any:
        return expressions.value_of(expression, self.names)

    # Effects outside

    def tool(self, name: str, /, **arguments: Any) -> Any:
        """Call a registered tool through the ledger; a recorded result is never asked for again."""
        return self.call_tool(name, arguments, call=self._call_name(name))

    @beside_the_loop
    def call_tool(
        self,
        name: str,
        arguments: Mapping[str, Any],
        *,
        call: str,
        compensate: Mapping[str, Any] | Literal[False] | None = None,
    ) -> Any:
        if self._ridden and self._ridden[0].call == call:
            intent, answer = self._ridden
            self._ridden = None
            return Invocation(self, intent, answer).result()
        callee = tool_callee(name, compensate)
        return Invocation(self, self._intent(call, callee, callee.tool.checked(arguments))).result()

    @beside_the_loop
    def model(self, request: Mapping[str, Any], *, call: str | None = None) -> Any:
        """Ask a model through the ledger. `request` is a chat completion request; the answer is its record."""
        call = call or self._call_name("llm")
        if self._ridden and self._ridden[0].call == call:
            intent, answer = self._ridden
            self._ridden = None
            return Invocation(self, intent, answer).result()
        callee = ModelCallee(str(request.get("model")), call)
        return Invocation(self, self._intent(call, callee, dict(request))).result()

    # Recorded values

    def now(self) -> datetime:
        """The time, recorded: a retry gets the same."""
        return datetime.fromisoformat(self.record("now", lambda: clock.now().isoformat()))

    def random(self) -> float:
        return float(self.record("random", lambda: _random.Random(ports.token_bytes(16)).random()))

    def uuid4(self) -> UUID:
        return UUID(self.record("uuid4", lambda: str(UUID(bytes=ports.token_bytes(16), version=4))))

    @beside_the_loop
    def record(self, name: str, function: Callable[[], Any]) -> Any:
        """The JSON value of `function`, computed once: later attempts get the recorded one.

        For values without an effect outside. They are written with the step's next durable write.
        """
        ordinal = self._ordinals[f"effect:{name}"]
        self._ordinals[f"effect:{name}"] += 1
        check_text(name, f"{self.step.key} name of a recorded value", 200)
        recorded = self._load_recorded()
        if (name, ordinal) not in recorded:
            value = function()
            check(value, f"{self.step.key}.{name}")
            recorded[name, ordinal] = value
            self.fresh_effects.append({"name": name, "ordinal": ordinal, "value": value})
        return recorded[name, ordinal]

    def patched(self, name: str) -> bool:
        """Whether the step takes the new side of a change: False where an earlier attempt went by without it.

        Decided once and recorded, so that every later attempt takes the same side. See docs/versioning.md.
        """
        if name not in self._patches:
            self._patches[name] = bool(self.record(PATCHED + name, lambda: not self._went_by()))
        return self._patches[name]

    def _went_by(self) -> bool:
        """Whether an earlier attempt of other code got beyond this point."""
        function = self.step.config.get("function", "")
        began = self.step.job.code.get(function)
        if self.step.attempt == 1 or began is None or code.digest_here(function) == began:
            return False
        values = any(ordinal >= self._ordinals[f"effect:{name}"] for name, ordinal in self._load_recorded())
        read = self.step.ledger.values_list("call", flat=True)
        return (
            values or self.resume is not None or bool(set(wait_out(lambda: list(read.all()))) - self._asked)
        )

    @beside_the_loop
    def http(
        self,
        method: str,
        url: str,
        *,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """Read over HTTP (GET or HEAD), once: `{status, headers, body}`, the same for every later attempt.

        Raises `CallRefused` where there is no answer to record; the step is then retried, or fails for good where
        asking again cannot help.
        """
        read = Read.of(method, url, params, headers)
        return dict(self.record(read.name, lambda: read.send(self)))

    # What it tells of itself

    def emit(self, name: str, payload: Any = None) -> None:
        """Note something for people to see. Never blocks, never raises, and has no part in replay."""
        self.narrative.note(name, payload)

    def progress(self, fraction: float, text: str = "") -> None:
        """Say how far the step is, from 0 to 1."""
        self.narrative.progress(fraction, text)

    # The step's own life

    @property
    def remaining_seconds(self) -> float:
        """Until the deadline of this attempt."""
        return self._deadline - time.monotonic()

    @property
    def cancelled(self) -> bool:
        """Whether the job was asked to end, or the step is no longer ours. A long step looks now and then."""
        return self._cancelled.is_set()

    def cancel(self) -> None:
        self._cancelled.set()

    def wait(self, seconds: float) -> bool:
        """Pause for a moment; True if the step was cancelled meanwhile. For long waits use a timer node."""
        return self._cancelled.wait(min(seconds, max(0.0, self.remaining_seconds)))

    # For invocations and recording

    def settle(self, settlement: Settlement) -> None:
        """At once in a `function` step; with the step's record where the call is all the step does."""
        if self.settle_at_once:
            settlements.alone(self.step, settlement)
        else:
            self.unsettled.append(settlement)

    def _intent(self, call: str, callee: Any, arguments: Any) -> Intent:
        self._flush_effects()
        self._asked.add(call)
        step = self.step
        intent = Intent.make(step.tenant, step.job_id, step.pk, step.key, call, callee, arguments)
        if step.kind == compensations.KIND:
            return intent  # what undoes a call was declared with it, and granted then
        sources = agents.sources(step.job.agent, step.config)
        return replace(intent, grant=grants.decide(callee.kind, callee.name, sources))

    def _flush_effects(self) -> None:
        """Recorded values are durable before anything leaves that may depend on them."""
        if self.fresh_effects:
            with self.step.turn(worker=self.step.worker_id) as turn:
                self.narrative.ride(turn)
                turn.effects(self.step, self.fresh_effects)
            self.fresh_effects = []

    def _call_name(self, name: str) -> str:
        ordinal = self._ordinals[f"call:{name}"]
        self._ordinals[f"call:{name}"] += 1
        return name if ordinal == 0 else f"{name}.{ordinal}"

    def _load_recorded(self) -> dict[tuple[str, int], Any]:
        if self._recorded is None:
            # A first attempt has recorded nothing yet.
            read = self.step.effects.values_list("name", "ordinal", "value")
            rows = wait_out(lambda: list(read.all())) if self.step.attempt > 1 else []
            found = {(name, ordinal): value for name, ordinal, value in rows}
            self._recorded = wait_out(lambda: blobs.all_whole(self.step.tenant, found))
        return self._recorded
