"""Turns of several jobs in one call, for the sweeper: one transaction and one message to the broker for many jobs.

A job that somebody is at work on is passed over rather than waited for, and a turn that is refused takes nothing of
the others along: both are found again by the next sweep.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import structlog
from django.db import connection

from runtime.exceptions import JobFinished, StaleAttempt
from runtime.turn import Turn, TurnAnswer, tell_after_commit

logger = structlog.get_logger(__name__)

TOGETHER = 50
"""Turns in one transaction: each is a subtransaction, and of more than 64 PostgreSQL loses the cheap overview."""
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


def _send(turns: Sequence[Turn]) -> list[TurnAnswer]:
    payloads = [turn.sealed() for turn in turns]
    with connection.cursor() as cursor:
        cursor.execute("SELECT aetheris_turns(%s::jsonb)", [json.dumps(payloads, ensure_ascii=False)])
        answers: list[TurnAnswer] = json.loads(cursor.fetchone()[0])
        return answers


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
