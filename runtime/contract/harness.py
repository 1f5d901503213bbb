"""`assert_replays`: a step is run, run again with every effect injected, and must do the same."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, is_dataclass
from typing import TYPE_CHECKING, Any
from uuid import NAMESPACE_OID, uuid5

from django.apps import apps

from runtime import agents
from runtime.chain import canonical
from runtime.conf import settings
from runtime.contract.errors import ReplayDiverged
from runtime.contract.guard import Guard
from runtime.contract.recording import Answers, MemoryContext, Recorded, as_stored
from runtime.contract.registry import violation
from runtime.outcomes import Completed, Outcome
from runtime.values import check

if TYPE_CHECKING:
    from runtime.agents import StepFunction


def assert_replays(
    step: StepFunction | Callable[..., Any],
    input: Mapping[str, Any] | None = None,
    *,
    tools: Answers | None = None,
    model: Any = None,
    http: Any = None,
    job_input: Any = None,
    resume: dict[str, Any] | None = None,
    validate: bool = True,
) -> Any:
    """Run a step twice, the second time from what the first recorded, and return its result.

    `input` are the arguments of the step. `tools` says by name what a tool answers: a value, an exception to
    raise, or a function of its arguments; `model` the same for model calls, `http` for reads (of method and URL).
    Needs no database.

    Raises `ContractViolated` where the source or the run breaks the contract, `ReplayDiverged` where the second
    run does something else, and what the step itself raises, if it does so both times.
    """
    function = step if isinstance(step, agents.StepFunction) else agents.StepFunction(_name(step), step)
    if validate and (broken := violation(function)) is not None:
        raise broken
    trial = _Trial(function, dict(input or {}), job_input, resume, tools, model, http)
    first, effects = trial.run(attempt=1)
    again, _ = trial.run(attempt=2, recorded=effects)
    if first != again:
        raise ReplayDiverged(function.name, 0, str(first), str(again))
    if first.error is not None:
        raise first.error
    return first.value


@dataclass(frozen=True, eq=False)
class _Ending:
    """What a run ended in."""

    value: Any = None
    error: Exception | None = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Ending) and str(self) == str(other)

    def __str__(self) -> str:
        if self.error is not None:
            return f"{type(self.error).__name__}: {self.error}"
        if is_dataclass(self.value):
            return repr(self.value)
        return canonical(self.value).decode()


@dataclass
class _Trial:
    function: StepFunction
    input: dict[str, Any]
    job_input: Any
    resume: dict[str, Any] | None
    tools: Answers | None
    model: Any
    http: Any

    def run(self, attempt: int, recorded: list[Recorded] | None = None) -> tuple[_Ending, list[Recorded]]:
        guard = Guard(self.function.name)
        context = self._context(attempt, guard, recorded)
        inputs = as_stored(self.input)
        try:
            with guard:
                ending = _Ending(_finished(self.function(context, **inputs)))
        except Exception as error:  # compared with that of the other run, and raised
            ending = _Ending(error=error)
        if guard.violation is not None:
            raise guard.violation
        if context.fault is not None:
            raise context.fault
        self._check(ending)
        context.finish()
        return ending, context.effects

    def _check(self, ending: _Ending) -> None:
        result = ending.value.result if isinstance(ending.value, Completed) else ending.value
        if not isinstance(result, Outcome):
            check(result, f"{self.function.name} result")

    def _context(self, attempt: int, guard: Guard, recorded: list[Recorded] | None) -> MemoryContext:
        job_input = as_stored(self.input if self.job_input is None else self.job_input)
        name = self.function.name
        job = apps.get_model("runtime", "Job")(id=uuid5(NAMESPACE_OID, name), agent="test", input=job_input)
        row = apps.get_model("runtime", "Step")(
            id=1,
            job=job,
            key=name,
            kind="function",
            config={"function": name},
            attempt=attempt,
            max_attempts=settings().max_attempts,
            timeout=settings().step_timeout_seconds,
            resume=as_stored(self.resume),
        )
        return MemoryContext(
            row,
            {"input": job_input},
            guard,
            answers=self.tools,
            model=self.model,
            http=self.http,
            recorded=recorded,
        )


def _finished(result: Any) -> Any:
    return asyncio.run(_awaited(result)) if inspect.isawaitable(result) else result


async def _awaited(result: Any) -> Any:
    return await result


def _name(step: Callable[..., Any]) -> str:
    return getattr(step, "__name__", type(step).__name__)
