"""Delivering signals. The inbox comes first; matching with waits happens in the same turn, under the job lock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import uuid4

from runtime.exceptions import InputInvalid, JobFinished
from runtime.values import check, check_text

if TYPE_CHECKING:
    from runtime.models import Job

RESERVED = ("approval:", "subjob:")
RESERVED_IDS = ("decision:", "subjob:", "auto:")
"""What the deduplication ids of the runtime's own signals begin with. Taken by somebody else, one would keep a
decision or the end of a subjob from having its effect."""


def deliver(
    job: Job, name: str, payload: Any = None, *, dedup_id: str | None = None, sender: str = ""
) -> bool:
    """Write the signal and wake the oldest wait of its name, if one is open.

    False when the same `dedup_id` was delivered before: it had its effect then. Raises `JobFinished` when the
    job has ended (the signal is recorded as refused), `InputInvalid` for a bad name or payload.
    """
    check_text(name, "name", 255)
    check_text(dedup_id, "dedup_id", 255)
    if name.startswith(RESERVED):
        raise InputInvalid(
            "name",
            f"names that begin with {' or '.join(RESERVED)} are the runtime's own; "
            "`manage.py approve` decides approvals",
        )
    if dedup_id is not None and dedup_id.startswith(RESERVED_IDS):
        raise InputInvalid("dedup_id", f"must not begin with {' or '.join(RESERVED_IDS)}")
    check(payload, "payload")
    with job.turn() as turn:
        # A deduplication id of our own makes it safe to send the turn again when its answer was lost.
        turn.signal(name, payload, dedup_id=dedup_id or f"auto:{uuid4()}", sender=sender)
    return _accepted(job, turn.answer["answers"][0])


def _accepted(job: Job, answer: dict[str, Any]) -> bool:
    job.refresh_from_db(fields=["status"])
    if answer["state"] == "refused":
        raise JobFinished(job.pk, job.status, "take a signal")
    return not answer["duplicate"]
