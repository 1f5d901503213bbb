"""Deciding approvals. A decision is bound to the authenticated user, never to a name in a body."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from runtime import blobs, schemas
from runtime.exceptions import AetherisError, ApprovalInvalid, ApprovalRefused, JobFinished
from runtime.values import check

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser

    from runtime.models import Job, Wait


def decide(
    job: Job,
    step_key: str | None,
    *,
    approve: bool,
    user: AbstractBaseUser,
    answer: Mapping[str, Any],
    comment: str = "",
) -> Wait:
    """Approve or reject the open approval of a step (or the only open one) in the name of `user`.

    Raises `ApprovalRefused` when the user may not or it is decided already, `ApprovalInvalid` with the field
    when the answer does not fit the schema; then the wait stays open.
    """
    wait = find(job, step_key)
    if not may_decide(wait, user):
        raise ApprovalRefused(f"{user} may not decide {wait.step_key!r} of job {job.pk}: {_who(wait)} may.")
    check(answer, "answer")
    check(comment, "comment")
    if approve:
        _validate(answer, wait.schema)
    decision = "approved" if approve else "rejected"
    payload = {"decision": decision, "by": user.pk, "answer": dict(answer), "comment": comment}
    with job.turn() as turn:
        turn.signal(
            wait.name,
            payload,
            dedup_id=f"decision:{wait.pk}",
            type="approval_decided",
            sender=f"user:{user.pk}",
            key=wait.step_key,
            wait=wait.pk,
            data={"by": f"user:{user.pk}", "decision": decision},
        )
    recorded = turn.answer["answers"][0]
    if recorded["state"] == "refused":
        raise _refusal(job, wait)
    if recorded["duplicate"]:
        first = blobs.whole(job.tenant, blobs.mark(recorded["payload"]))
        if first != payload:
            raise ApprovalRefused(
                f"Approval {wait.step_key!r} of job {job.pk} is {first['decision']} already."
            )
    wait.refresh_from_db()
    return wait


def _refusal(job: Job, wait: Wait) -> AetherisError:
    """Why the gate did not take a decision."""
    job.refresh_from_db()
    wait.refresh_from_db()
    if job.is_finished or job.ending_as is not None:
        return JobFinished(job.pk, job.status, "take a decision")
    which = f"Approval {wait.step_key!r} of job {job.pk}"
    if wait.closed_at is not None:
        return ApprovalRefused(f"{which} is closed: {wait.outcome}.")
    return ApprovalRefused(f"{which} was due until {wait.deadline_at}: too late.")


def find(job: Job, step_key: str | None) -> Wait:
    """The approval of a step, or the only open one. A decided one is found too, so that twice answers the same."""
    waits = job.waits.filter(kind="approval").order_by("-id")
    if step_key:
        waits = waits.filter(step_key=step_key)
    wanted = list(waits.filter(closed_at__isnull=True)[:2]) or list(waits[:1])
    if not wanted:
        raise ApprovalRefused(
            f"Job {job.pk} has no approval{f' {step_key!r}' if step_key else ''} to decide."
        )
    if len(wanted) > 1:
        keys = ", ".join(sorted(wait.step_key for wait in waits.filter(closed_at__isnull=True)))
        raise ApprovalRefused(f"Job {job.pk} waits for several approvals ({keys}): say which.")
    if wanted[0].closed_at and wanted[0].outcome != "signalled":
        raise ApprovalRefused(
            f"Approval {wanted[0].step_key!r} of job {job.pk} is closed: {wanted[0].outcome}."
        )
    return wanted[0]


def may_decide(wait: Wait, user: Any) -> bool:
    """Listed users and groups, or the named permission; without a list everyone with `decide_approval`."""
    approvers = wait.approvers
    if not user.is_active:
        return False
    if not any(approvers.get(key) for key in ("users", "groups", "permission")):
        return bool(user.has_perm("runtime.decide_approval"))
    return (
        user.get_username() in approvers.get("users", ())
        or bool(approvers.get("groups"))
        and user.groups.filter(name__in=approvers["groups"]).exists()
        or bool(approvers.get("permission"))
        and user.has_perm(approvers["permission"])
    )


def _who(wait: Wait) -> str:
    named = [
        f"{key} {value if isinstance(value, str) else ', '.join(value)}"
        for key, value in wait.approvers.items()
        if value
    ]
    return " or ".join(named) or "users with the permission runtime.decide_approval"


def _validate(answer: Mapping[str, Any], schema: Mapping[str, Any]) -> None:
    if schema and (wrong := schemas.misfit(dict(answer), schema)):
        raise ApprovalInvalid(wrong.field or "answer", wrong.reason)
