"""How a call that takes its time ended: told by the outside itself, by a webhook or callback, or by a poll.

It settles the entry from whatever is known of it so far, also before the answer of the request that began it, and
wakes the step. It never overwrites what was settled before.
"""

from __future__ import annotations

from typing import Any

from runtime import blobs
from runtime.exceptions import StaleAttempt
from runtime.failures import clean
from runtime.models import LedgerEntry
from runtime.states import EntryState
from runtime.turn import Turn, part
from tools import Failed, Happened

FAILED_OUTSIDE = "FailedOutside"
OPEN = (EntryState.STARTED, EntryState.ACCEPTED, EntryState.UNKNOWN)
SUCCEEDED = (EntryState.COMMITTED, EntryState.COMPENSATED)
TRIES = 5
"""How often an entry may move on between the look at it and the turn."""

Ended = Happened | Failed


def tell(entry: LedgerEntry, ended: Ended, *, source: str) -> bool:
    """Settle a call and wake its step. False when the call has been settled already: then nothing changes."""
    for _ in range(TRIES):
        entry.refresh_from_db()
        if entry.state not in OPEN:
            return False
        step = entry.step
        key = {"step": step.pk, "key": step.key, "call": entry.call, "generation": entry.generation}
        try:
            with step.turn() as turn:
                settle(turn, key, EntryState(entry.state), ended, source=source)
                for kind in ("call", "unknown"):
                    name = f"{kind}:{entry.call}#{entry.generation}"
                    turn.resume(step, {"outcome": "resolved"}, waiting_for=name, optional=True)
        except StaleAttempt:
            continue  # it moved on in between: look again
        entry.refresh_from_db()
        return True
    raise StaleAttempt(f"call {entry.call} of job {entry.job_id} does not come to rest")


def settle(turn: Turn, key: dict[str, Any], known: EntryState, ended: Ended, *, source: str) -> None:
    """Put into a turn how the call ended. `known` is the state it is in now, and the guard."""
    match ended:
        case Happened(result):
            turn.settle(
                key,
                EntryState.COMMITTED,
                "tool_returned",
                attempt=None,
                allowed_from=[known],
                source=source,
                data={"source": source},
                parts=[part("tool.result", result)],
            )
        case Failed():
            if known is not EntryState.ACCEPTED:
                # To fail outside it must have been taken there.
                turn.settle(
                    key,
                    EntryState.ACCEPTED,
                    "tool_accepted",
                    attempt=None,
                    allowed_from=[known],
                    answer_within=0,
                )
            turn.settle(
                key,
                EntryState.FAILED,
                "tool_failed",
                attempt=None,
                allowed_from=[EntryState.ACCEPTED],
                source=source,
                data={"source": source},
                parts=[part("error", error_of(key, ended))],
            )


def error_of(key: dict[str, Any], failed: Failed) -> dict[str, Any]:
    """What a step is told of a call that failed outside; it names the call, so that it is told once."""
    return {
        "type": FAILED_OUTSIDE,
        "message": clean(str(failed.message))[:2000],
        "permanent": not failed.retry,
        "call": key["call"],
        "generation": key["generation"],
    }


def agrees(entry: LedgerEntry, ended: Ended) -> bool:
    """Whether a settled entry says the same as what is told now."""
    match ended:
        case Happened(result):
            kept = blobs.whole(entry.tenant, blobs.mark(entry.result))
            told_alike = entry.source != "webhook" or kept == result
            return entry.state in SUCCEEDED and told_alike
        case Failed():
            return entry.state == EntryState.FAILED
