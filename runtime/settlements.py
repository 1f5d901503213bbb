"""What a turn says of how a call ended. Each may ride in the turn that records the step, or go in one of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from runtime.states import EntryState
from runtime.turn import Turn, part

if TYPE_CHECKING:
    from runtime.consent import Decision
    from runtime.intents import Intent
    from runtime.models import Step

Settlement = Callable[[Turn], None]


def committed(intent: Intent, attempt: int, result: Any, turn: Turn) -> None:
    callee = intent.callee
    usage = callee.usage(result)
    turn.settle(
        intent.entry,
        EntryState.COMMITTED,
        callee.returned_event,
        attempt=attempt,
        source="call",
        allowed_from=[EntryState.STARTED, EntryState.UNKNOWN],
        parts=[part(callee.result_part, result), *callee.provenance(intent.arguments, usage)],
        usage=usage,
        data=usage,
    )


def cancelled(intent: Intent, decision: Decision, turn: Turn) -> None:
    turn.settle(
        intent.entry,
        EntryState.CANCELLED,
        "tool_cancelled",
        attempt=None,
        data={"by": decision.by},
        parts=[part("error", {"type": "Rejected", "message": decision.comment})],
    )


def refused(intent: Intent, attempt: int, error: dict[str, Any], turn: Turn) -> None:
    turn.settle(
        intent.entry,
        EntryState.REFUSED,
        "tool_failed",
        attempt=attempt,
        allowed_from=[EntryState.STARTED, EntryState.UNKNOWN],
        parts=[part("error", error)],
    )


def unknown(intent: Intent, starter: int, reason: str, turn: Turn) -> None:
    error = {"type": "Unknown", "message": reason}
    turn.settle(
        intent.entry,
        EntryState.UNKNOWN,
        "tool_unknown",
        attempt=starter,
        allowed_from=[EntryState.STARTED],
        parts=[part("error", error)],
    )


def reconciled(intent: Intent, result: Any, turn: Turn) -> None:
    turn.settle(
        intent.entry,
        EntryState.COMMITTED,
        "tool_reconciled",
        attempt=None,
        source="verify",
        allowed_from=[EntryState.UNKNOWN],
        parts=[part(intent.callee.result_part, result)],
    )


def absent(intent: Intent, starter: int | None, turn: Turn) -> None:
    """`starter`: the attempt whose call the outside was asked about. Of one that was made since, it said nothing."""
    turn.settle(
        intent.entry,
        EntryState.REFUSED,
        "tool_reconciled",
        attempt=starter,
        source="verify",
        allowed_from=[EntryState.UNKNOWN],
        parts=[part("error", {"type": "Absent", "message": "the outside has no such call"})],
    )


def fenced_off(intent: Intent, starter: int | None, turn: Turn) -> None:
    absent(intent, starter, turn)
    turn.settle(
        intent.entry,
        EntryState.FAILED,
        "tool_failed",
        attempt=None,
        allowed_from=[EntryState.REFUSED],
        parts=[part("error", {"type": "Fenced", "message": "the outside has closed the key"})],
    )


def alone(step: Step, settlement: Settlement) -> None:
    """Evidence in a turn of its own: it also readies a step that waits in doubt about the call.

    Raises `StaleAttempt` when the entry has been settled, or started again, by somebody else.
    """
    with step.turn(worker=step.worker_id) as turn:
        settlement(turn)
        for operation in list(turn.ops):
            waiting_for = f"unknown:{operation['call']}#{operation['generation']}"
            turn.resume(step, {"outcome": "resolved"}, waiting_for=waiting_for, optional=True)
