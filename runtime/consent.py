"""A call that needs a person's word: it is reserved in the ledger, nothing is sent, and the step waits.

The wait is an approval like any other, tied to the call (`Wait.for_call`), so that what woke the step for reasons of
its own stays as it is. A step that runs again finds what was decided of each of its calls.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from runtime import blobs
from runtime.outages import wait_out
from runtime.outcomes import Waiting

if TYPE_CHECKING:
    from runtime.intents import Intent
    from runtime.models import Step, Wait

LONGEST_PROMPT = 4000


@dataclass(frozen=True)
class Decision:
    """What became of the question, and who says so."""

    approved: bool
    by: str
    comment: str = ""


def question(step: Step, intent: Intent) -> Waiting:
    """What the step waits for."""
    arguments = json.dumps(intent.arguments, ensure_ascii=False, sort_keys=True)
    noun = "tool" if intent.callee.kind == "tool" else "model"
    prompt = f"May step {step.key} call {noun} {intent.callee.name} with {arguments}?"
    if len(prompt) > LONGEST_PROMPT:
        prompt = f"{prompt[:LONGEST_PROMPT]}… ({len(prompt)} characters; the ledger has all of them)"
    return Waiting(
        kind="approval",
        name=f"approval:{step.key}",
        timeout=intent.grant.timeout,
        prompt=prompt,
        approvers=dict(intent.grant.approvers),
        event="approval_requested",
        for_call=intent.name,
    )


def decision(step: Step, intent: Intent) -> Decision | None:
    """What was decided of the call; None if nobody was asked, or the question was closed without an answer."""
    asked = _asked(step, intent)
    if asked is None or asked.closed_at is None:
        return None
    if asked.outcome == "timed_out":
        return Decision(False, "nobody", "nobody decided in time")
    if asked.signal is None:
        return None
    kept = asked.signal.payload
    payload = wait_out(lambda: blobs.whole(step.tenant, kept))
    return Decision(payload["decision"] == "approved", f"user:{payload['by']}", payload.get("comment", ""))


def standing_refusal(step: Step, intent: Intent) -> Decision | None:
    """A refusal holds for every later attempt of the step, until the job is reopened: then it is asked again."""
    decided = decision(step, intent)
    asked = _asked(step, intent)
    if decided is None or decided.approved or asked is None:
        return None
    reopened = step.job.events.filter(type="job_reopened", at__gte=asked.closed_at)
    return None if wait_out(reopened.exists) else decided


def _asked(step: Step, intent: Intent) -> Wait | None:
    waits = step.waits.filter(for_call=intent.name).order_by("-id").select_related("signal")
    return wait_out(waits.first)
