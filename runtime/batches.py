"""Turns of several jobs in one call: one transaction and one message to the broker for many jobs.

A job that somebody is at work on is passed over rather than waited for, and a turn that is refused takes nothing of
the others along. The sweeper finds both again by its next sweep; of jobs that are to begin each has its answer.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import structlog
from django.db import InterfaceError, OperationalError

from runtime import blobs, statements
from runtime.exceptions import AetherisError, JobFinished, StaleAttempt
from runtime.turn import Turn, TurnAnswer, tell_after_commit

logger = structlog.get_logger(__name__)

T = TypeVar("T")

TOGETHER = 50
"""Turns in one transaction: each is a subtransaction, and of more than 64 PostgreSQL loses the cheap overview."""
FIRST = 8
"""Jobs in the first transaction of many: workers begin with them while the next ones are made."""
MOVED_ON = ("AE001", "AE003")
"""Somebody was first, perhaps another sweeper."""
RESULT_NEEDED = "AE004"
"""The turn ends its job, whose result must be evaluated first: it does that in a call of its own."""


def commit(turns: Sequence[Turn]) -> int:
    """Commit the turns that can be; how many were. Raises `OperationalError` when PostgreSQL is away."""
    done = 0
    for first in range(0, len(turns), TOGETHER):
        some = turns[first : first + TOGETHER]
        answers = list(zip(some, _send(some), strict=True))
        together = [answer for turn, answer in answers if _is_done(turn, answer)]
        tell_after_commit(together)
        done += len(together) + sum(_alone(turn) for turn, answer in answers if _needs_more(answer))
    return done


def growing(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """The items, in parts of which each is a transaction's."""
    begin, size = 0, FIRST
    while begin < len(items):
        yield items[begin : begin + size]
        begin, size = begin + size, min(2 * size, TOGETHER)


def answers(turns: Sequence[Turn]) -> list[TurnAnswer | AetherisError]:
    """Commit turns that begin jobs, in one transaction: what each answered, or why it was refused."""
    texts = list(_with_graphs_once(turns))
    if not texts:
        return []
    try:
        together = _call(texts)
    except (OperationalError, InterfaceError) as lost:
        together = [turn.recovered(lost) for turn in turns]
    tell_after_commit([answer for answer in together if "refused" not in answer])
    # What was refused in company is sent alone, which says why.
    return [
        _alone_or_why(turn) if "refused" in answer else answer
        for turn, answer in zip(turns, together, strict=True)
    ]


def _send(turns: Sequence[Turn]) -> list[TurnAnswer]:
    return _call(_text(turn.sealed()) for turn in turns)


def _call(texts: Iterable[str]) -> list[TurnAnswer]:
    return json.loads(statements.ask("SELECT aetheris_turns($1::jsonb)", f"[{','.join(texts)}]"))  # type: ignore[no-any-return]


def _with_graphs_once(turns: Sequence[Turn]) -> Iterator[str]:
    """A graph goes with the first job that has it; the others name it. Large values are kept apart."""
    sent: set[tuple[str, str]] = set()
    for turn in turns:
        payload = turn.sealed()
        own = {(payload["submit"]["tenant"], digest) for digest in payload["blobs"]}
        known = {"blobs": {}, "stored": list(payload["blobs"])} if own <= sent else {}
        sent |= own
        text = _text(payload | known)
        yield _text(blobs.kept_apart(payload)) if blobs.may_be_large(text) else text


def _text(payload: Mapping[str, Any]) -> str:
    return json.dumps(payload, separators=(",", ":"), ensure_ascii=False)


def _is_done(turn: Turn, answer: TurnAnswer) -> bool:
    state = answer.get("refused")
    if state is not None and state not in (*MOVED_ON, RESULT_NEEDED):
        logger.error("sweep_refused", job=str(turn.job_id), state=state, detail=answer["message"])
    return state is None and "held" not in answer


def _needs_more(answer: TurnAnswer) -> bool:
    return answer.get("refused") == RESULT_NEEDED


def _alone(turn: Turn) -> bool:
    try:
        turn.commit()
    except (StaleAttempt, JobFinished):
        return False
    return True


def _alone_or_why(turn: Turn) -> TurnAnswer | AetherisError:
    try:
        return turn.commit()
    except AetherisError as error:
        return error
