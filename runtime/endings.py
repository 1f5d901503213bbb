"""What a step ended in, before it is recorded: a value that a row cannot hold fails the step and says which.

Steps and node kinds are other people's code. What they answer is checked here, so that recording it can only
fail for reasons that pass.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from runtime import agents, schemas
from runtime.conf import settings
from runtime.exceptions import InputInvalid, Permanent
from runtime.graph import Graph, TaskGraph, fields
from runtime.graph.durations import LONGEST as LONGEST_DURATION
from runtime.models import Step, Wait
from runtime.outcomes import CancelJob, Completed, Expand, Failed, Outcome, Retry, Waiting
from runtime.signals import RESERVED
from runtime.values import check, check_text

if TYPE_CHECKING:
    from runtime.context import Context

COPIES_BYTES = 16
"""All copies that a step expands into may be so many times as large as one value: they are written at once."""
LONGEST_KEY: int = Step._meta.get_field("key").max_length or 0
LONGEST_BRANCH: int = Step._meta.get_field("branch").max_length or 0
LONGEST_WAIT: int = Wait._meta.get_field("name").max_length or 0
WAKERS = {"signal": "", "approval": "approval:", "timer": "", "subjob": "subjob:"}
"""What a step may wait for, and what the name of each begins with: decisions do not come as anybody's signal."""
EVENT = re.compile("[a-z_]{1,40}")
OWN_EVENTS = (
    "job_", "plan_", "step_", "tool_", "model_", "effect_", "signal_", "approval_", "timer_", "compensation_",
    "operator_", "progress_", "note_",
)  # fmt: skip
"""What the types of the runtime's own events begin with. State, replay and pages believe them."""
YEARS = (1000, 9000)


def checked(outcome: Outcome, step: Step, context: Context) -> Outcome:
    """The outcome as it can be recorded. Raises `InputInvalid`, `GraphInvalid` or `Permanent` where it cannot be."""
    match outcome:
        case Completed(result, branch, spawn):
            context.result_bytes = check(result, f"{step.key} result")
            check_text(branch, f"{step.key} branch", LONGEST_BRANCH)
            return Completed(result, branch, _spawned(spawn, step, context))
        case Retry(error, after):
            _check_error(error, step)
            return Retry(error, _duration(after, f"{step.key} retry.after"))
        case Failed(error):
            _check_error(error, step)
        case Waiting():
            return _checked_wait(outcome, step)
        case Expand(graph, bindings):
            _check_copies(graph, bindings, step, indexed=outcome.indexed)
        case CancelJob(reason):
            check(reason, f"{step.key} reason")
        case _:
            raise Permanent(
                f"Step {step.key!r} of kind {step.kind!r} ended in {type(outcome).__name__}: "
                "`run` answers one of the outcomes of `runtime.outcomes`."
            )
    return outcome


def _spawned(spawn: Any, step: Step, context: Context) -> TaskGraph | None:
    """The steps to add, from whatever form the graph has."""
    if spawn is None:
        return None
    wire = spawn.build() if isinstance(spawn, Graph) else spawn
    graph = (
        wire
        if isinstance(wire, TaskGraph)
        else agents.parse(
            wire,
            outer=context.names.keys() - {"input"},
            sources=agents.sources(step.job.agent, step.config),
        )
    )
    _check_keys(f"{step.key}.", graph)
    return graph


def _check_error(error: Any, step: Step) -> None:
    if not isinstance(error, dict):
        raise Permanent(
            f"Step {step.key!r} ended in an error that is {type(error).__name__}: it must be an object."
        )
    check(error, f"{step.key} error")


def _checked_wait(waiting: Waiting, step: Step) -> Waiting:
    check_text(waiting.name, f"{step.key} wait.name", LONGEST_WAIT)
    _check_waker(waiting, step)
    for part in ("prompt", "schema", "approvers"):
        check(getattr(waiting, part), f"{step.key} wait.{part}")
    if not isinstance(waiting.prompt, str):
        raise InputInvalid(f"{step.key} wait.prompt", "must be a text")
    for part, form in (("schema", fields.JSON_SCHEMA), ("approvers", fields.APPROVERS)):
        if wrong := form.check(getattr(waiting, part)):
            raise InputInvalid(f"{step.key} wait.{part}", wrong)
    for fault in schemas.faults(waiting.schema):
        raise InputInvalid(f"{step.key} wait.schema.{fault.path}", fault.reason)
    _check_event(waiting, step)
    return replace(
        waiting,
        for_call="",
        timeout=_duration(waiting.timeout, f"{step.key} wait.timeout"),
        until=_moment(waiting.until, f"{step.key} wait.until"),
    )


def _check_waker(waiting: Waiting, step: Step) -> None:
    """Whether what it waits for can come, and comes from nobody but those who may send it."""
    if waiting.kind not in WAKERS:
        raise InputInvalid(f"{step.key} wait.kind", f"must be one of {', '.join(WAKERS)}")
    prefix = WAKERS[waiting.kind]
    if prefix and not waiting.name.startswith(prefix):
        raise InputInvalid(f"{step.key} wait.name", f"of kind {waiting.kind} must begin with {prefix!r}")
    if waiting.kind == "signal" and waiting.name.startswith(RESERVED):
        raise InputInvalid(f"{step.key} wait.name", "is a name of the runtime's own; no signal can bear it")


def _check_event(waiting: Waiting, step: Step) -> None:
    event = waiting.event
    if event is None or (event == "approval_requested" and waiting.kind == "approval"):
        return
    if not EVENT.fullmatch(event):
        raise InputInvalid(f"{step.key} wait.event", "must be a name of up to 40 of a-z and '_'")
    if event.startswith(OWN_EVENTS):
        own = ", ".join(OWN_EVENTS)
        raise InputInvalid(f"{step.key} wait.event", f"is one of the runtime's own: these begin with {own}")


def _duration(duration: Any, path: str) -> timedelta | None:
    """What is over already is now; what ends after ten years is refused, since no row would hold all of it."""
    if duration is None:
        return None
    if not isinstance(duration, timedelta):
        raise InputInvalid(path, f"must be a timedelta, not {type(duration).__name__}")
    if duration.total_seconds() > LONGEST_DURATION:
        raise InputInvalid(path, "must be at most ten years")
    return max(duration, timedelta(0))


def _moment(moment: Any, path: str) -> datetime | None:
    if moment is None:
        return None
    if not isinstance(moment, datetime):
        raise InputInvalid(path, f"must be a datetime, not {type(moment).__name__}")
    try:
        known: datetime = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
        if YEARS[0] <= known.year <= YEARS[1]:
            return known
    except OverflowError:
        pass  # the year before the first, or after the last
    raise InputInvalid(path, f"must be within the years {YEARS[0]} to {YEARS[1]}")


def _check_copies(graph: TaskGraph, bindings: list[dict[str, Any]], step: Step, *, indexed: bool) -> None:
    if not bindings:
        raise Permanent(f"Step {step.key!r} expanded into no copy at all: complete it instead.")
    most = COPIES_BYTES * settings().max_value_bytes
    bound, body = 0, len(json.dumps(graph.to_json(), ensure_ascii=False)) * len(bindings)
    for number, names in enumerate(bindings):
        bound += check(names, f"{step.key}[{number}]")
        if bound + body > most:
            raise Permanent(
                f"Step {step.key!r} would make {len(bindings)} copies of more than {most} bytes together. "
                "Store large values elsewhere and send references, or map over fewer items."
            )
    _check_keys(f"{step.key}[{len(bindings) - 1}]." if indexed else f"{step.key}.", graph)


def _check_keys(prefix: str, graph: TaskGraph) -> None:
    longest = prefix + max(graph.keys, key=len)
    if len(longest) > LONGEST_KEY:
        raise Permanent(
            f"Step key {longest[:60]!r}… would have {len(longest)} characters; the limit is {LONGEST_KEY}. "
            "Use shorter ids, or nest less deep."
        )
