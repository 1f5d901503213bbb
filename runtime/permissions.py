"""Who may see and do what: the default groups, and the questions that the API and the pages ask.

A user without `view_job` sees the jobs that they submitted and those whose approval they may decide; what a user
may not see does not exist for them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

import structlog
from django.apps import apps
from django.contrib.auth.models import Group, Permission
from django.db.models import Exists, OuterRef, Q

from runtime.approvals import may_decide
from runtime.exceptions import JobNotFound
from runtime.models import Job, LedgerEntry, Wait
from runtime.models.job import JobQuerySet
from runtime.models.ledger import LedgerEntryQuerySet
from runtime.models.signal import WaitQuerySet

logger = structlog.get_logger(__name__)

VIEW = (
    "view_job",
    "view_step",
    "view_event",
    "view_ledgerentry",
    "view_signal",
    "view_wait",
    "view_worker",
    "view_effect",
    "view_hold",
    "view_bulkoperation",
    "view_schedule",
    "view_webhook",
)

GROUPS: Mapping[str, tuple[str, ...]] = {
    "admin": (*VIEW, "view_payload", "submit_job", "operate_job", "decide_approval"),
    "operator": (*VIEW, "view_payload", "submit_job", "operate_job"),
    "approver": (*VIEW, "decide_approval"),
    "auditor": (*VIEW, "view_payload"),
    "submitter": ("submit_job",),
    "viewer": VIEW,
}


def create_groups(using: str = "default", **kwargs: object) -> None:
    """After migrations, and after a flush. A group that exists is left as the deployment made it."""
    for name, codenames in GROUPS.items():
        group, created = Group.objects.using(using).get_or_create(name=name)
        if created:
            wanted = Permission.objects.using(using).filter(
                content_type__app_label="runtime", codename__in=codenames
            )
            group.permissions.set(wanted)


# Who is asking


def principal(user: Any) -> str:
    """How events and rows name a user: by primary key, since names can change hands."""
    return f"user:{user.pk}"


def names_of(principals: Iterable[str]) -> dict[str, str]:
    """Readable names of principals; others than users stand for themselves."""
    ids = {int(name[5:]): name for name in principals if name.startswith("user:") and name[5:].isdecimal()}
    users = apps.get_model("auth", "User").objects.filter(pk__in=ids).only("pk", "username")
    return {ids[user.pk]: user.get_username() for user in users} if ids else {}


# What they may do


def may_submit(user: Any) -> bool:
    return bool(user.has_perm("runtime.submit_job"))


def may_operate(user: Any) -> bool:
    """Cancel, pause, resume, retry, resolve what is in doubt."""
    return bool(user.has_perm("runtime.operate_job"))


def may_signal(user: Any, job: Job) -> bool:
    return may_operate(user) or may_submit(user) and _is_own(user, job)


# What they may see


def visible_jobs(user: Any) -> JobQuerySet:
    jobs = Job.objects.all()
    if not user.is_authenticated:
        return jobs.none()
    if user.has_perm("runtime.view_job"):
        return jobs
    own = Q(submitted_by=principal(user)) if may_submit(user) else Q(pk__in=[])
    asked = Wait.objects.filter(_addressed_to(user), job=OuterRef("pk"), kind="approval")
    return jobs.filter(own | Exists(asked))


def visible_job(user: Any, job_id: UUID, *, without: Iterable[str] = ()) -> Job:
    """The job, or `JobNotFound`: also for one that exists and is none of the user's business.

    `without` are columns that the caller has no use for.
    """
    job = visible_jobs(user).filter(pk=job_id).defer(*without).first()
    if job is None:
        raise JobNotFound(job_id)
    return job


def visible_entries(user: Any) -> LedgerEntryQuerySet:
    return LedgerEntry.objects.filter(job__in=visible_jobs(user))


def decidable(user: Any) -> WaitQuerySet:
    """The open approvals that this user may decide."""
    return Wait.objects.approvals().filter(_addressed_to(user))


def sees_payloads(user: Any, job: Job) -> bool:
    """Inputs, results, arguments and messages; others see that something happened, and when."""
    return (
        bool(user.has_perm("runtime.view_payload"))
        or may_submit(user)
        and _is_own(user, job)
        or any(may_decide(wait, user) for wait in job.waits.filter(kind="approval"))
    )


def note_payload_view(user: Any, job_id: UUID, what: str) -> None:
    """Each look at payloads leaves a line in the log."""
    logger.info("payload_viewed", by=principal(user), job=str(job_id), what=what)


def _is_own(user: Any, job: Job) -> bool:
    return job.submitted_by == principal(user)


def _addressed_to(user: Any) -> Q:
    """Mirrors `approvals.may_decide` as a condition on waits."""
    groups = list(user.groups.values_list("name", flat=True))
    addressed = Q(approvers__users__contains=[user.get_username()])
    for name in groups:
        addressed |= Q(approvers__groups__contains=[name])
    if user.is_superuser:
        addressed |= Q(approvers__permission__gt="")
    else:
        addressed |= Q(approvers__permission__in=sorted(user.get_all_permissions()))
    if user.has_perm("runtime.decide_approval"):
        addressed |= _unlisted("users", []) & _unlisted("groups", []) & _unlisted("permission", "")
    return addressed


def _unlisted(key: str, empty: Any) -> Q:
    field = f"approvers__{key}"
    return Q(**{f"{field}__isnull": True}) | Q(**{field: empty}) | Q(**{field: None})
