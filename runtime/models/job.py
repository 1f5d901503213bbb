"""A job: an agent's request, and the graph of steps that answers it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from runtime.clock import DatabaseNow
from runtime.exceptions import JobFinished, RetryRefused
from runtime.models.base import TenantField, new_id, sound
from runtime.models.payload import PayloadField
from runtime.states import JOB_FINISHED, JOB_UNFINISHED, JobStatus
from runtime.turn import Turn, part
from runtime.values import check

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from django.contrib.auth.models import AbstractBaseUser

    from runtime.exceptions import AetherisError
    from runtime.graph import GraphInvalid

SUBMITTED = ("id", "tenant", "agent", "agent_version", "graph_digest", "result_template", "idempotency_key", "depth",
             "on_parent_end", "submitted_by", "queue", "priority", "requires", "timeout", "compensate")  # fmt: skip
"""Columns that stay as they were submitted, in the order of the fields."""
NOT_LISTED = ("input", "result", "error", "head", "request_digest")


class JobQuerySet(models.QuerySet["Job"]):
    def unreported(self) -> JobQuerySet:
        """Subjobs that have ended and whose parent may not know."""
        return self.finished().filter(parent_step__isnull=False, reported_at__isnull=True).with_parent()

    def with_parent(self) -> JobQuerySet:
        """Subjobs with what a parent is told of them, and no payloads."""
        return self.select_related("parent_step").only("status", "head", "parent_step__job")

    def tied_to_parents(self) -> JobQuerySet:
        """Open subjobs that are to end with what they are for."""
        return self.filter(
            on_parent_end="cancel",
            finished_at__isnull=True,  # in these words the index is found
            cancel_requested_at__isnull=True,
        )

    def orphaned(self) -> JobQuerySet:
        """Those of them whose parent has ended."""
        parent_ended = Q(parent_step__finished_at__isnull=False) | Q(
            parent_step__job__ending_as__isnull=False
        )
        return self.tied_to_parents().filter(parent_ended)

    def unfinished(self) -> JobQuerySet:
        return self.filter(status__in=JOB_UNFINISHED)

    def finished(self) -> JobQuerySet:
        return self.filter(status__in=JOB_FINISHED)

    def overdue(self) -> JobQuerySet:
        """Jobs that have worked for longer than they may."""
        late = self.filter(overdue_at__lte=DatabaseNow(), ending_as__isnull=True)
        return late.order_by("overdue_at")

    def past_deadline(self) -> JobQuerySet:
        """Unfinished jobs whose moment is over, whatever they do."""
        late = self.filter(deadline_at__lte=DatabaseNow(), finished_at__isnull=True, ending_as__isnull=True)
        return late.order_by("deadline_at")

    def wait(self, timeout: float = 60.0) -> None:
        """Return when every job of this query has ended. Raises `NotFinished` after `timeout` seconds."""
        from runtime.waiting import wait  # reads rows through the models

        wait(set(self.values_list("pk", flat=True)), timeout)

    def for_list(self) -> JobQuerySet:
        """Everything a list shows. Payload columns are never part of it."""
        return self.defer(*NOT_LISTED)

    def submit(
        self,
        agent: str,
        input: Any = None,
        *,
        idempotency_key: str | None = None,
        tenant: str = "default",
        by: str = "",
        queue: str | None = None,
        priority: int | None = None,
        timeout: Any = None,
        deadline: datetime | None = None,
    ) -> Job:
        """Start a job: the job, its steps and edges, and its first events, in one transaction.

        The same `idempotency_key` answers with the first job; with another agent or input it raises
        `IdempotencyConflict`. `queue` and `priority` are the agent's where none is given, and so is `timeout`: how long
        the job may work, in seconds, as a timedelta or as "2h"; time in which it waits or is paused does not count.
        At `deadline` it ends whatever it does. Raises `AgentNotFound`, `GraphInvalid` or `InputInvalid` on bad input.
        """
        from runtime import planning  # planning builds on the models

        return planning.submit(
            agent,
            input,
            idempotency_key=idempotency_key,
            tenant=tenant,
            by=by,
            queue=queue,
            priority=priority,
            timeout=timeout,
            deadline=deadline,
        )

    def submit_many(
        self, requests: Iterable[Mapping[str, Any]], *, tenant: str = "default", by: str = ""
    ) -> list[Job | AetherisError | GraphInvalid]:
        """Start many jobs, many in one transaction: each request holds what `submit` takes, and `agent` or `graph`.

        Answers in the order of the requests, with the job or with the error that `submit` would raise for it. Raises
        `OperationalError` when PostgreSQL stays away: what was answered by then is not known, so give keys.
        """
        from runtime import planning  # planning builds on the models

        return planning.submit_many(requests, tenant=tenant, by=by)


class Job(models.Model):
    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    tenant = TenantField()
    agent = models.CharField(max_length=200)
    agent_version = models.CharField(max_length=100)
    graph_digest = models.CharField(max_length=64)
    code = models.JSONField(default=dict)
    """The digests of the step functions that it began with, by name."""
    status = models.CharField(max_length=10, choices=JobStatus.choices, default=JobStatus.PENDING)
    input = PayloadField(null=True)
    result = PayloadField(null=True)
    error = models.JSONField(null=True)
    result_template = models.JSONField(default=dict)
    """`{"step": key}` where the result is one step's result, `{"expression": …}` where it must be evaluated."""
    idempotency_key = models.CharField(max_length=255, null=True)
    request_digest = models.BinaryField(max_length=32)
    parent_step = models.ForeignKey(
        "runtime.Step", models.PROTECT, null=True, related_name="subjobs", db_constraint=False
    )
    depth = models.SmallIntegerField(default=0)
    """Of a subjob: how many jobs are above it."""
    total_steps = models.IntegerField(default=0)
    """How many it has grown to, those that undo something not counted."""
    on_parent_end = models.CharField(max_length=10, default="", blank=True)
    """Of a subjob, when the step that began it ends first: cancel or abandon."""
    reported_at = models.DateTimeField(null=True)
    """When the end of a subjob was told to its parent."""
    submitted_by = models.CharField(max_length=200, default="", blank=True)
    queue = models.CharField(max_length=50, default="default")
    priority = models.SmallIntegerField(default=0)
    requires = ArrayField(models.CharField(max_length=50), default=list)
    """Capabilities that a worker must have, for steps that say nothing else."""

    created_at = models.DateTimeField()
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    paused_at = models.DateTimeField(null=True)
    cancel_requested_at = models.DateTimeField(null=True)
    ending_as = models.CharField(max_length=10, null=True)
    """Set when the end is decided but running steps have not been told yet: failed or cancelled."""
    timeout = models.FloatField(null=True)
    """Seconds of work that the job may take; time in which it waits or is paused does not count."""
    work_left = models.FloatField(null=True)
    """Seconds of them that were left when the clock began to run, or stopped, for the last time."""
    overdue_at = models.DateTimeField(null=True)
    """When they are over; NULL while the clock stands."""
    deadline_at = models.DateTimeField(null=True)
    compensate = models.CharField(max_length=10, default="", blank=True)
    """On which ends what it did is undone, as its graph says: on_failure, on_cancel, always, or never."""
    compensating_at = models.DateTimeField(null=True)
    """Since when; until these steps have ended the job has not."""

    seq = models.BigIntegerField(default=0)
    head = models.BinaryField(max_length=32)
    last_event_at = models.DateTimeField()
    ready_steps = models.IntegerField(default=0)
    running_steps = models.IntegerField(default=0)
    waiting_steps = models.IntegerField(default=0)
    unfinished_steps = models.IntegerField(default=0)

    is_repeat = False
    """Set by `submit` where the job is the answer to an earlier request with the same idempotency key."""

    objects = JobQuerySet.as_manager()

    class Meta:
        db_table = "aetheris_job"
        ordering = ("-id",)
        constraints = (
            models.UniqueConstraint(
                fields=("tenant", "idempotency_key"), name="aetheris_job_idempotency_key"
            ),
            sound(
                "aetheris_job_finished_at",
                f"(finished_at IS NULL) = (status::text = ANY ('{{{','.join(JOB_UNFINISHED)}}}'))",
            ),
            sound(
                "aetheris_job_counters",
                "least(ready_steps, running_steps, waiting_steps,"
                " unfinished_steps - ready_steps - running_steps - waiting_steps) >= 0",
            ),
            sound("aetheris_job_tenant", "tenant ~ '^[a-z0-9][a-z0-9_-]*$'"),
        )
        indexes = (
            models.Index(fields=("tenant", "-id"), name="aetheris_job_list"),
            models.Index(
                fields=("id",),
                name="aetheris_job_orphan",
                condition=Q(
                    on_parent_end="cancel", finished_at__isnull=True, cancel_requested_at__isnull=True
                ),
            ),
            models.Index(
                fields=("id",),
                name="aetheris_job_unreported",
                condition=Q(parent_step__isnull=False, reported_at__isnull=True),
            ),
            models.Index(
                fields=("overdue_at",), name="aetheris_job_overdue", condition=Q(overdue_at__isnull=False)
            ),
            models.Index(
                fields=("deadline_at",),
                name="aetheris_job_deadline",
                condition=Q(deadline_at__isnull=False, finished_at__isnull=True),
            ),
            models.Index(
                fields=("status", "id"), name="aetheris_job_open", condition=Q(status__in=JOB_UNFINISHED)
            ),
        )
        permissions = (
            ("submit_job", "Can submit jobs"),
            ("operate_job", "Can cancel, pause, retry and resolve"),
            ("decide_approval", "Can decide approvals"),
            ("view_payload", "Can view payloads"),
        )

    def __str__(self) -> str:
        return f"{self.agent} {self.id}"

    @classmethod
    def submitted(cls, columns: Mapping[str, Any]) -> Job:
        """A job that has just begun; what may have changed since is read when it is asked for."""
        known = {**columns, "id": UUID(columns["id"])}
        return cls.from_db("default", SUBMITTED, [known[name] for name in SUBMITTED])

    @property
    def is_finished(self) -> bool:
        return self.status in JOB_FINISHED

    def turn(self, **kwargs: Any) -> Turn:
        return Turn(self.id, **kwargs)

    def cancel(self, *, by: str = "", why: str = "") -> None:
        """Ask the job to end. What does not run is cancelled now, running steps are told; idempotent."""
        from runtime import subjobs  # builds on the models

        try:
            self._act("cancel", "operator_acted", by, why)
        except JobFinished:
            self.refresh_from_db()
            if self.status != JobStatus.CANCELLED:
                raise
        subjobs.cancel_children(self, by=by)

    def timing_out(self, late: str) -> Turn:
        """The end of a job that took too long: what does not run is cancelled now, running steps are told."""
        turn = self.turn()
        error = {"type": "JobTimedOut", "message": f"the job was not done {late}"}
        turn.job("time_out", "job_timed_out", data={}, parts=[part("error", error)])
        return turn

    def pause(self, *, by: str = "", why: str = "") -> None:
        """Running steps finish, nothing new starts, signals and due timers are kept."""
        self._act("pause", "job_paused", by, why)

    def resume(self, *, by: str = "", why: str = "") -> None:
        self._act("resume", "job_resumed", by, why)

    def retry(self, *, by: str = "", why: str = "") -> None:
        """Reopen a failed job from what failed: completed steps and recorded effects stay as they are.

        Raises `RetryRefused` for a job that completed or was cancelled, for one that has not ended, and for one
        of which calls were undone.
        """
        try:
            self._act("reopen", "job_reopened", by, why)
        except JobFinished as refused:
            raise RetryRefused(self.pk, refused.status) from refused

    def adopt(self, *, by: str = "", why: str = "") -> None:
        """Go on with the code that this process has, where steps are held for that which the job began with."""
        from runtime import code  # looks at what is registered here

        check(why, "why")
        now = {name: code.digest_here(name) or began for name, began in self.code.items()}
        with self.turn() as turn:
            facts = {"verb": "adopt", "code": [f"{name}@{digest}" for name, digest in sorted(now.items())]}
            parts = [part("operator", {"by": by, "why": why})]
            turn.job("adopt", "operator_acted", data=facts, parts=parts, code=now)
            for step in self.steps.filter(status="waiting", waiting_for__startswith="code:"):
                turn.resume(step, {"outcome": "resolved"}, waiting_for=step.waiting_for, optional=True)
        self.refresh_from_db()

    def fork(self, step_key: str, **changes: Any) -> Job:
        """A new job from a step on, with the history before it. See `runtime.forks.fork`."""
        from runtime.forks import fork  # builds on the models

        return fork(self, step_key, **changes)

    def wait(self, timeout: float = 60.0) -> None:
        """Return when the job has ended, with its result read. Raises `NotFinished` after `timeout` seconds."""
        Job.objects.filter(pk=self.pk).wait(timeout)
        self.refresh_from_db()

    def signal(
        self, name: str, payload: Any = None, *, dedup_id: str | None = None, sender: str = ""
    ) -> bool:
        """Deliver a signal. False when its `dedup_id` was delivered before; raises `JobFinished`."""
        from runtime.signals import deliver

        return deliver(self, name, payload, dedup_id=dedup_id, sender=sender)

    def decide(
        self,
        step_key: str,
        *,
        approve: bool,
        user: AbstractBaseUser,
        answer: Mapping[str, Any] | None = None,
        comment: str = "",
    ) -> None:
        """Decide an open approval in the name of an authenticated user. See `runtime.approvals.decide`."""
        from runtime.approvals import decide

        decide(self, step_key, approve=approve, user=user, answer=answer or {}, comment=comment)

    def _act(self, verb: str, event: str, by: str, why: str) -> None:
        check(why, "why")
        with self.turn() as turn:
            turn.job(verb, event, data={"verb": verb}, parts=[part("operator", {"by": by, "why": why})])
        self.refresh_from_db()
