"""One attempt, run again and held against what it ended in."""

from __future__ import annotations

import re
from typing import Any

from runtime import blobs, compensations, endings, nodes
from runtime.chain import canonical
from runtime.contract import ContractViolated
from runtime.contract.guard import Guard
from runtime.exceptions import AetherisError
from runtime.execution import outcome_of, sound
from runtime.models import Job, Scope, Step
from runtime.outcomes import CancelJob, Completed, Expand, Failed, Outcome, Retry, Waiting
from runtime.replays.injected import END, ReplayContext
from runtime.replays.record import Attempt, Record
from runtime.replays.report import Diverged, cut
from runtime.replays.sandbox import TimeExceeded, sandbox
from runtime.states import StepStatus

ADDRESS = re.compile(r"\b0x[0-9a-f]{6,}\b")
"""An object's address says something else in every process."""


def run_again(record: Record, attempt: Attempt, seconds: float) -> int:
    """Run an attempt on what it had been given; answers how many effects were injected.

    Raises `Diverged` for the first thing that is not as it was, `Withheld` where a payload was erased.
    """
    step = _step(record, attempt)
    names, bindings = _names(record, attempt, step)
    if step.kind == compensations.KIND:
        return 0  # it goes by what became of another step's call, and runs no code but the runtime's
    if step.kind == "subjob":
        _compare_subjob(record, attempt, step, {**bindings, **names})
        return 0
    guard = Guard(step.key)
    effects = record.values(seq for effect in attempt.effects for seq in (effect.event, effect.answer))
    context = ReplayContext(step, {**bindings, **names}, bindings, attempt.effects, effects, guard)
    outcome = _outcome(step, context, guard, min(seconds, step.timeout))
    _compare(record, attempt, step, outcome)
    return context.injected


def _step(record: Record, attempt: Attempt) -> Step:
    """The step as its worker had it."""
    row = Step.objects.select_related("scope").defer("result", "error").get(job=record.job, key=attempt.step)
    resume = attempt.resume
    told: dict[str, Any] | None = None
    if resume is not None:
        told = {"outcome": resume.outcome}
        if resume.signal is not None:
            told["payload"] = record.value(resume.signal, "signal")
    row.job, row.status, row.attempt, row.resume = record.job, StepStatus.RUNNING, attempt.number, told
    return row


def _names(record: Record, attempt: Attempt, step: Step) -> tuple[dict[str, Any], dict[str, Any]]:
    """What expressions of the step stand for, and of that what its scope binds."""
    results = record.results(step.refs.values(), before=attempt.claimed)
    bound = step.scope.bindings if step.scope else {}
    bindings = {name: value for name, value in bound.items() if name not in step.refs}
    names = {name: results[key] for name, key in step.refs.items()}
    return {"input": record.value(1, "input"), **names}, bindings


def _outcome(step: Step, context: ReplayContext, guard: Guard, seconds: float) -> Outcome:
    try:
        with sandbox(guard, seconds):
            outcome = endings.checked(nodes.get(step.kind).run(step, context), step, context)
    except TimeExceeded:
        raise Diverged("time", f"over within {seconds:g} s", "still running") from None
    except BaseException as error:  # of whatever kind: it is what the attempt would have ended in
        outcome = sound(outcome_of(error, step), step, context)
    if context.fault is not None:
        raise context.fault
    if guard.violation is not None:
        raise _forbidden(guard.violation)
    context.finish(END if isinstance(outcome, Completed) else _ending(outcome))
    return outcome


def _forbidden(violation: ContractViolated) -> Diverged:
    return Diverged("contract", "nothing that is not recorded", str(violation.findings[0]))


# What it ended in


def _compare(record: Record, attempt: Attempt, step: Step, outcome: Outcome) -> None:
    match attempt.ending, outcome:
        case "step_completed", Completed():
            _compare_completed(record, attempt, outcome)
        case "step_failed", Failed(error) | Retry(error):
            _expect("error", _error(record.value(attempt.ended, "error")), _error(error))
        case "step_parked", Waiting() if attempt.data["wait"] != "scopes":
            _expect("wait", _wait(attempt.data), _wait(_as_data(outcome)))
        case "step_parked", Expand() if attempt.data["wait"] == "scopes":
            _compare_expanded(attempt, step, outcome)
        case "operator_acted", CancelJob(reason):
            _expect("ending", f"a cancel: {attempt.data.get('reason')}", f"a cancel: {reason}")
        case _:
            raise Diverged("ending", _told(attempt), _ending(outcome))


def _compare_completed(record: Record, attempt: Attempt, outcome: Completed) -> None:
    _expect("result", _json(record.value(attempt.ended, "output")), _json(outcome.result))
    _expect("branch", str(attempt.data.get("branch")), str(outcome.branch))
    spawned = outcome.spawn.digest if outcome.spawn is not None else None  # type: ignore[union-attr]
    _expect("plan", _graph((attempt.plan or {}).get("graph_digest")), _graph(spawned))


def _compare_expanded(attempt: Attempt, step: Step, outcome: Expand) -> None:
    recorded = attempt.plan or {}
    _expect("plan", _graph(recorded.get("graph_digest")), _graph(outcome.graph.digest))
    bindings = Scope.objects.filter(owner=step.pk).order_by("index").values_list("bindings", flat=True)
    _expect("plan", _json(list(bindings)), _json(outcome.bindings))


def _compare_subjob(record: Record, attempt: Attempt, step: Step, names: dict[str, Any]) -> None:
    """Its code is a job of its own, with a record of its own; here what went in and what came out is compared."""
    from runtime import expressions  # CEL takes a while to load, and most jobs have no subjob

    child = Job.objects.filter(parent_step=step.pk).first()
    if child is None:
        raise Diverged("subjob", f"a job of {step.config['agent']}", "no job")
    given = expressions.evaluate(step.config.get("input"), names)
    started = blobs.whole(child.tenant, child.input)
    _expect("subjob", f"{step.config['agent']} {_json(started)}", f"{child.agent} {_json(given)}")
    if attempt.ending == "step_completed":
        _expect(
            "result",
            _json(record.value(attempt.ended, "output")),
            _json(blobs.whole(child.tenant, child.result)),
        )


def _expect(what: str, expected: str, got: str) -> None:
    if expected != got:
        raise Diverged(what, *_from_first_difference(expected, got))


def _from_first_difference(expected: str, got: str) -> tuple[str, str]:
    """Long values are told from a little before the place where they part."""
    same = next((n for n, (a, b) in enumerate(zip(expected, got, strict=False)) if a != b), 0)
    start = max(0, same - 100) if max(len(expected), len(got)) > 400 else 0
    lead = "…" if start else ""
    return lead + cut(expected[start:]), lead + cut(got[start:])


def _told(attempt: Attempt) -> str:
    if attempt.ending == "step_parked":
        return f"a wait for {_wait(attempt.data)}"
    return {"step_completed": "completed", "step_failed": "failed"}.get(attempt.ending, "a cancel")


def _ending(outcome: Outcome) -> str:
    match outcome:
        case Completed(result):
            return f"completed: {cut(_json(result))}"
        case Failed(error) | Retry(error):
            return f"failed: {_error(error)}"
        case Waiting():
            return f"a wait for {_wait(_as_data(outcome))}"
        case Expand():
            return f"{len(outcome.bindings)} copies of {_graph(outcome.graph.digest)}"
        case CancelJob(reason):
            return f"a cancel: {reason}"
    raise AetherisError(f"{outcome!r} is no outcome.")


def _as_data(waiting: Waiting) -> dict[str, Any]:
    data: dict[str, Any] = {"wait": waiting.kind, "name": waiting.name}
    if waiting.until:
        data["until"] = waiting.until.isoformat()
    if waiting.timeout is not None:
        data["timeout_ms"] = int(waiting.timeout.total_seconds() * 1000)
    return data


def _wait(data: dict[str, Any]) -> str:
    extras = [f"{name} {data[name]}" for name in ("until", "timeout_ms") if name in data]
    return " ".join([f"{data['wait']} {data['name']}", *extras])


def _error(error: dict[str, Any]) -> str:
    return ADDRESS.sub("0x…", f"{error.get('type')}: {error.get('message')}")


def _graph(digest: str | None) -> str:
    return f"graph {digest[:12]}" if digest else "no graph"


def _json(value: Any) -> str:
    return canonical(value).decode()
