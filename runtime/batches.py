"""Turns of several jobs in one call, for the sweeper: one transaction and one message to the broker for many jobs.

A job that somebody is at work on is passed over rather than waited for, and a turn that is refused takes nothing of
the others along: both are found again by the next sweep.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from uuid import UUID

import structlog
from django.db import connection

from runtime import dispatch
from runtime.turn import Turn, TurnAnswer

logger = structlog.get_logger(__name__)

TOGETHER = 50
"""Turns in one transaction: each is a subtransaction, and of more than 64 PostgreSQL loses the cheap overview."""
MOVED_ON = ("AE001", "AE003")
"""Somebody was first, perhaps another sweeper."""


def commit(turns: Sequence[Turn]) -> int:
    """Commit the turns that can be; how many were. Raises `OperationalError` when PostgreSQL is away."""
    done = 0
    released: list[tuple[int, str]] = []
    for first in range(0, len(turns), TOGETHER):
        some = turns[first : first + TOGETHER]
        for turn, answer in zip(some, _send(some), strict=True):
            if _is_done(turn, answer):
                done += 1
                released += answer.get("released") or ()
                if answer.get("is_subjob"):
                    _report(answer)
    if released:
        dispatch.hint_after_commit(released)
    return done


def _send(turns: Sequence[Turn]) -> list[TurnAnswer]:
    payloads = [turn.sealed() for turn in turns]
    with connection.cursor() as cursor:
        cursor.execute("SELECT aetheris_turns(%s::jsonb)", [json.dumps(payloads, ensure_ascii=False)])
        answers: list[TurnAnswer] = json.loads(cursor.fetchone()[0])
        return answers


def _is_done(turn: Turn, answer: TurnAnswer) -> bool:
    if state := answer.get("refused"):
        if state not in MOVED_ON:
            logger.error("sweep_refused", job=str(turn.job_id), state=state, detail=answer["message"])
        return False
    return "held" not in answer


def _report(answer: TurnAnswer) -> None:
    from runtime import subjobs  # reports through the models

    subjobs.report_after_commit(UUID(answer["job"]))
