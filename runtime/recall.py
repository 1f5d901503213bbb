"""What became of a turn whose answer was lost with the connection: the rows know.

A turn that did happen is answered as the gate would have answered it; None means that it did not happen and
may be sent again. Every guarded move names an attempt, so the question has one answer.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.apps import apps
from django.db import connection

if TYPE_CHECKING:
    from runtime.turn import Turn, TurnAnswer


def answer_of(turn: Turn) -> TurnAnswer | None:
    if turn.payload.get("submit"):
        return _submitted(turn)
    moves = [
        operation for operation in turn.ops if operation["op"] == "move" and not operation.get("optional")
    ]
    if moves and not all(_has_moved(operation) for operation in moves):
        return None
    intents = [_intended(turn, operation) for operation in turn.ops if operation["op"] == "intend"]
    if intents and None in intents:
        return None
    settles = [
        operation for operation in turn.ops if operation["op"] == "settle" and not operation.get("optional")
    ]
    if settles and not all(_is_settled(turn, operation) for operation in settles):
        return None
    claimed = _claimed(turn)
    acted = any(operation["op"] == "job" and _is_told(turn, operation) for operation in turn.ops)
    if not (moves or intents or settles or claimed or acted):
        return None  # signals are deduplicated and other verbs change nothing twice: sending again is safe
    return {"answers": intents, **(claimed or {})}


def _submitted(turn: Turn) -> TurnAnswer | None:
    job = apps.get_model("runtime", "Job").objects.filter(pk=turn.payload["submit"]["id"]).first()
    return {"job": str(job.pk), "answers": []} if job else None


def _has_moved(operation: dict[str, Any]) -> bool:
    rows = apps.get_model("runtime", "Step").objects.filter(
        pk=operation["step"], status__in=(operation["to"], "cancelled")
    )
    if "attempt" in operation:
        rows = rows.filter(attempt=operation["attempt"])
    return rows.exists()


def _entry(operation: dict[str, Any]) -> Any:
    return (
        apps.get_model("runtime", "LedgerEntry")
        .objects.filter(step=operation["step"], call=operation["call"], generation=operation["generation"])
        .first()
    )


def _is_settled(turn: Turn, operation: dict[str, Any]) -> bool:
    entry = _entry(operation)
    return (
        entry is not None
        and entry.state == operation["to"]
        and entry.attempt == operation.get("new_attempt", entry.attempt)
        and ("parts" not in operation or _is_told(turn, operation))
    )


def _is_told(turn: Turn, operation: dict[str, Any]) -> bool:
    """Whether this very turn said so, and not another one that says the same: by the salts of its payloads."""
    salts = [told["salt"] for told in operation.get("parts", {}).values()]
    parts = apps.get_model("runtime", "EventPart").objects
    return parts.filter(job=turn.job_id, salt__in=salts).exists()


def _intended(turn: Turn, operation: dict[str, Any], attempt: int | None = None) -> dict[str, Any] | None:
    """The row is mine, of this attempt, and I have sent nothing: as good as just inserted."""
    entry = _entry(operation)
    attempt = operation.get("attempt", attempt)
    mine = (
        entry is not None
        and entry.attempt == attempt
        and entry.worker_id == turn.worker
        and entry.state == operation["state"]
    )
    return {"inserted": True} if mine else None


def _claimed(turn: Turn) -> TurnAnswer | None:
    """The step that runs under the token of the lost turn's claim."""
    wanted = turn.payload.get("claim")
    if wanted is None:
        return None
    steps = apps.get_model("runtime", "Step").objects.filter(status="running", claim_token=wanted["token"])
    if "step" in turn.payload:
        step = steps.filter(pk=turn.payload["step"]).first()
    else:
        step = steps.filter(job=turn.job_id).first()
    if step is None:
        taken = steps.filter(worker=turn.worker).first() if wanted.get("others") else None
        return {"taken": _answered(taken, with_job=True, with_results=True)} if taken else None
    answer = _answered(step, with_job=wanted["with_job"], with_results=wanted["with_results"])
    intent = wanted.get("intent")
    if intent and intent["step"] == step.pk:
        answer["entry"] = _intended(turn, intent, step.attempt)
    return answer


def _answered(step: Any, *, with_job: bool, with_results: bool) -> TurnAnswer:
    with connection.cursor() as cursor:
        cursor.execute("SELECT aetheris_claimed(%s, %s, %s)", [step.pk, with_job, with_results])
        return {"job": str(UUID(str(step.job_id))), "claimed": json.loads(cursor.fetchone()[0])}
