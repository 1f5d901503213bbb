"""`compensation`: undoes one call of a job that is ending. Made by the gate; see `runtime.compensations`."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from django.db.models import DurationField, ExpressionWrapper, F

from runtime import compensations, expressions
from runtime.callees import tool_callee
from runtime.clock import DatabaseNow
from runtime.exceptions import CallAbandoned, CallInDoubt, ToolNotFound
from runtime.failures import describe
from runtime.intents import Intent
from runtime.invocations import Invocation, Overtaken
from runtime.nodes.base import Node
from runtime.outages import wait_out
from runtime.outcomes import Completed, Failed, Outcome
from runtime.states import EntryState
from runtime.turn import Turn

if TYPE_CHECKING:
    from runtime.context import Context
    from runtime.models import LedgerEntry, Step


class CompensationNode(Node):
    kind = compensations.KIND
    settles_with_record = True
    is_internal = True

    def run(self, step: Step, context: Context) -> Outcome:
        if context.resume == compensations.GIVEN_UP:
            return _abandoned()
        entry = _known(step, context)
        if entry.state != EntryState.COMMITTED:
            return Completed({"call": entry.state})  # there is nothing to undo, or it is undone by hand
        try:
            result = _undo(entry, step, context)
        except CallAbandoned:
            return _abandoned()
        except ToolNotFound as gone:
            return Failed(describe(gone))
        context.unsettled.append(partial(_compensated, entry, step.key))
        return Completed(result)


def _abandoned() -> Completed:
    return Completed(None, branch=compensations.ABANDONED)


def _known(step: Step, context: Context) -> LedgerEntry:
    """The call to undo, once it is clear whether it happened. Raises `CallInDoubt` where only a person can tell."""
    entry = wait_out(lambda: compensations.entry_of(step))
    if entry.state == EntryState.ACCEPTED:
        with step.turn(worker=step.worker_id) as turn:
            _give_up_waiting(entry, turn)
        entry = compensations.entry_of(step)
    if entry.state != EntryState.UNKNOWN:
        return entry
    try:
        _ascertain(entry, context)
    except Overtaken:
        return _known(step, context)  # the outside told by itself while it was asked
    return compensations.entry_of(step)


def _ascertain(entry: LedgerEntry, context: Context) -> None:
    try:
        tool = tool_callee(entry.name)
    except ToolNotFound as gone:
        raise CallInDoubt(entry.step.key, f"{entry.call}#{entry.generation}", str(gone)) from gone
    intent = Intent(
        entry.step_id,
        entry.step.key,
        entry.call,
        tool,
        entry.arguments,
        entry.idempotency_key,
        entry.generation,
    )
    reason = (entry.error or {}).get("message", "the outcome was lost")
    Invocation(context, intent).ascertain(reason, _sent_ago(entry), entry.external_id)


def _sent_ago(entry: LedgerEntry) -> timedelta:
    age = ExpressionWrapper(DatabaseNow() - F("started_at"), output_field=DurationField())
    same = type(entry).objects.filter(pk=entry.pk)
    sent: timedelta = same.annotate(age=age).values_list("age", flat=True).get()
    return sent


def _undo(entry: LedgerEntry, step: Step, context: Context) -> Any:
    names = {"arguments": entry.arguments, "result": entry.result, "input": context.input}
    tool = step.config["tool"]
    inputs = expressions.evaluate(step.config.get("inputs", {}), names)
    return context.call_tool(tool, inputs, call=tool, compensate=False)


def _give_up_waiting(entry: LedgerEntry, turn: Turn) -> None:
    turn.settle(
        compensations.named(entry),
        EntryState.UNKNOWN,
        "tool_unknown",
        attempt=None,
        allowed_from=[EntryState.ACCEPTED],
        optional=True,
    )


def _compensated(entry: LedgerEntry, by: str, turn: Turn) -> None:
    turn.settle(
        compensations.named(entry),
        EntryState.COMPENSATED,
        "step_compensated",
        attempt=None,
        data={"undone_by": by},
    )
