"""Settling what is in doubt: a person says whether a call happened. Who and why go into the events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from runtime.exceptions import InputInvalid, StaleAttempt
from runtime.models import LedgerEntry, Step
from runtime.states import EntryState
from runtime.turn import part
from runtime.values import check, check_text

if TYPE_CHECKING:
    from collections.abc import Mapping

Verdict = Literal["happened", "absent", "abandon"]

SETTLED: Mapping[Verdict, EntryState] = {
    "happened": EntryState.COMMITTED,
    "absent": EntryState.REFUSED,
    "abandon": EntryState.ABANDONED,
}


def resolve(entry: LedgerEntry, verdict: Verdict, *, by: str, why: str, result: Any = None) -> None:
    """Close the doubt about one call, and wake the step that waits for it.

    `happened`: the step goes on with `result`. `absent`: it did not happen, so it is called, with the same key.
    `abandon`: it is neither known nor called, and the step fails. Raises `InputInvalid` for a bad verdict or a
    missing reason, `StaleAttempt` when the entry is not in doubt any more.
    """
    if verdict not in SETTLED:
        raise InputInvalid("verdict", f"must be one of {', '.join(SETTLED)}, not {verdict!r}")
    check_text(why.strip(), "why", 2000)
    check(result, "result")
    if entry.state != EntryState.UNKNOWN:
        raise StaleAttempt(f"call {entry.call!r} of job {entry.job_id} is {entry.state}, not in doubt")
    step = Step.objects.get(pk=entry.step_id)
    key = {"step": step.pk, "key": step.key, "call": entry.call, "generation": entry.generation}
    operator = part("operator", {"by": by, "why": why})
    told = (
        part("tool.result", result)
        if verdict == "happened"
        else part("error", {"type": verdict, "message": why})
    )
    with step.turn() as turn:
        turn.settle(
            key,
            SETTLED[verdict],
            "tool_reconciled",
            attempt=None,
            allowed_from=[EntryState.UNKNOWN],
            source="manual",
            by=by,
            why=why,
            data={"by": by, "verdict": verdict},
            parts=[told, operator],
        )
        waiting_for = f"unknown:{entry.call}#{entry.generation}"
        turn.resume(step, {"outcome": "resolved"}, waiting_for=waiting_for, optional=True)
    entry.refresh_from_db()
