"""Settling what is in doubt: a person says whether a call happened, or what becomes of a call that is to be undone
and cannot be. Who and why go into the events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from runtime import compensations
from runtime.exceptions import InputInvalid, StaleAttempt
from runtime.models import LedgerEntry, Step
from runtime.states import EntryState
from runtime.turn import part
from runtime.values import check, check_text

if TYPE_CHECKING:
    from collections.abc import Mapping

Verdict = Literal["happened", "absent", "abandon", "undone", "again"]

SETTLED: Mapping[Verdict, EntryState] = {
    "happened": EntryState.COMMITTED,
    "absent": EntryState.REFUSED,
    "abandon": EntryState.ABANDONED,
}
"""Of a call in doubt."""
OF_COMPENSATION: tuple[Verdict, ...] = ("undone", "again", "abandon")
"""Of a call that happened and is to be undone."""
VERDICTS: tuple[Verdict, ...] = tuple(dict.fromkeys((*SETTLED, *OF_COMPENSATION)))


def resolve(
    entry: LedgerEntry,
    verdict: Verdict,
    *,
    by: str,
    why: str,
    result: Any = None,
    attempt: int | None = None,
) -> None:
    """Say what became of one call, as `entry` was read, and wake the step that waits for it.

    Of a call in doubt: `happened`, the step goes on with `result`; `absent`, it did not happen, so it is called,
    with the same key; `abandon`, it is neither known nor called, and the step fails.

    Of a call that is to be undone: `undone`, somebody did it by hand; `again`, it is tried once more; `abandon`, it
    stays as it is. The last two where its compensation was refused and waits for a person.

    `attempt` is whose call was looked at, where the entry was read again since. What is said of one call says nothing
    of one that was made after it.

    Raises `InputInvalid` for a bad verdict or a missing reason, `StaleAttempt` when there is nothing to decide.
    """
    if verdict not in VERDICTS:
        raise InputInvalid("verdict", f"must be one of {', '.join(VERDICTS)}, not {verdict!r}")
    check_text(why.strip(), "why", 2000)
    check(result, "result")
    if attempt not in (None, entry.attempt):
        raise StaleAttempt(
            f"call {entry.call!r} of job {entry.job_id} was made again since: by attempt {entry.attempt}, not {attempt}"
        )
    if entry.state == EntryState.COMMITTED and entry.undone_by is not None and verdict in OF_COMPENSATION:
        _resolve_compensation(entry, entry.undone_by, verdict, by=by, why=why)
    elif entry.state == EntryState.UNKNOWN and verdict in SETTLED:
        _resolve_doubt(entry, verdict, by=by, why=why, result=result)
    elif entry.state == EntryState.UNKNOWN:
        raise InputInvalid("verdict", f"of a call in doubt must be one of {', '.join(SETTLED)}")
    else:
        raise StaleAttempt(f"call {entry.call!r} of job {entry.job_id} is {entry.state}, not in doubt")
    entry.refresh_from_db()


def _resolve_doubt(entry: LedgerEntry, verdict: Verdict, *, by: str, why: str, result: Any) -> None:
    step = Step.objects.get(pk=entry.step_id)
    told = (
        part("tool.result", result)
        if verdict == "happened"
        else part("error", {"type": verdict, "message": why})
    )
    with step.turn() as turn:
        turn.settle(
            compensations.named(entry),
            SETTLED[verdict],
            "tool_reconciled",
            attempt=entry.attempt,
            allowed_from=[EntryState.UNKNOWN],
            source="manual",
            by=by,
            why=why,
            data={"by": by, "verdict": verdict},
            parts=[told, part("operator", {"by": by, "why": why})],
        )
        waiting_for = f"unknown:{entry.call}#{entry.generation}"
        turn.resume(step, {"outcome": "resolved"}, waiting_for=waiting_for, optional=True)


def _resolve_compensation(entry: LedgerEntry, step: Step, verdict: Verdict, *, by: str, why: str) -> None:
    operator = part("operator", {"by": by, "why": why})
    is_undone = verdict == "undone"
    with step.turn() as turn:
        if is_undone:
            turn.settle(
                compensations.named(entry),
                EntryState.COMPENSATED,
                "step_compensated",
                attempt=None,
                by=by,
                why=why,
                data={"by": by, "verdict": verdict},
                parts=[operator],
            )
        else:
            turn.event("operator_acted", step=step.key, data={"by": by, "verb": verdict}, parts=[operator])
        resume = compensations.GIVEN_UP if verdict == "abandon" else {"outcome": "resolved"}
        turn.resume(step, resume, waiting_for=compensations.waiting_for(step), optional=is_undone)
