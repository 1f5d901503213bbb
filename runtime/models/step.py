"""A step: one unit of durable work, and the edges between steps."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.db.models.functions import Cast, Greatest

from runtime.clock import DatabaseNow
from runtime.exceptions import StaleAttempt
from runtime.models.base import TenantField, sound
from runtime.models.hold import holding_back
from runtime.models.job import Job
from runtime.models.payload import PayloadField
from runtime.states import STEP_FINISHED, STEP_UNFINISHED, StepStatus
from runtime.turn import Turn

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from runtime.outcomes import Waiting
    from runtime.turn import TurnAnswer

ADDRESS = "array_to_string(array_prepend(%(expressions)s), '+')"
NOT_LISTED = ("config", "result", "error", "resume", "causes")
CLAIMED = ("id", "job_id", "tenant", "scope_id", "key", "kind", "config", "refs", "status", "attempt", "failures",
           "max_attempts", "worker_id", "queue", "timeout", "error", "resume")  # fmt: skip
"""The columns that `aetheris_claimed` answers, in the order of the fields."""


class StepQuerySet(models.QuerySet["Step"]):
    def ready(self) -> StepQuerySet:
        """Steps that a worker may claim now."""
        return self.due().exclude(holding_back())

    def due(self) -> StepQuerySet:
        """Steps that a worker may claim now, unless their agent or queue rests."""
        due = Q(run_after__isnull=True) | Q(run_after__lte=DatabaseNow())
        return self.filter(
            due,
            Q(job__ending_as__isnull=True) | Q(job__compensating_at__isnull=False),
            status=StepStatus.READY,
            job__paused_at__isnull=True,
        )

    def unfinished(self) -> StepQuerySet:
        return self.filter(status__in=STEP_UNFINISHED)

    def overdue(self) -> StepQuerySet:
        """Running steps past their deadline, in living workers or not."""
        return self.filter(status=StepStatus.RUNNING, deadline_at__lt=DatabaseNow())

    def unattended(self, lease: timedelta) -> StepQuerySet:
        """Running steps whose worker has been silent for a lease time, or does not list them.

        A claim whose COMMIT answer was lost is the second case: the worker lives and knows nothing of it.
        """
        limit = DatabaseNow() - lease
        silent = Q(worker__heartbeat_at__lt=limit) | Q(worker__stopped_at__isnull=False)
        me = models.Func(
            Cast("id", models.TextField()),
            "attempt",
            function="jsonb_build_object",
            output_field=models.JSONField(),
        )
        unlisted = Q(claimed_at__lt=limit) & ~Q(worker__holding__contains=me)
        return self.filter(silent | unlisted, status=StepStatus.RUNNING)

    def addresses(
        self, most: int | None = None, *, other_than: Collection[str] = ()
    ) -> list[tuple[int, str]]:
        """(step id, address): where they want to be announced. See `runtime.queues`."""
        address = models.Func("queue", "requires", template=ADDRESS, output_field=models.TextField())
        found = self.annotate(address=address).exclude(address__in=other_than)
        return list(found.values_list("pk", "address")[:most])

    def for_list(self) -> StepQuerySet:
        return self.defer(*NOT_LISTED)


class Step(models.Model):
    id = models.BigAutoField(primary_key=True)
    job = models.ForeignKey(Job, models.PROTECT, related_name="steps", db_index=False)
    tenant = TenantField()
    scope = models.ForeignKey(
        "runtime.Scope", models.PROTECT, null=True, related_name="steps", db_constraint=False, db_index=False
    )
    key = models.CharField(max_length=255)
    kind = models.CharField(max_length=50)
    config = models.JSONField()
    refs = models.JSONField(default=dict)
    """The steps whose results the inputs need: the name in expressions → the step's key."""

    join = models.CharField(max_length=5, default="all")
    join_needed = models.IntegerField(null=True)
    """How many incoming edges must be taken; NULL for `all`, which waits until every edge is decided."""
    parents = models.IntegerField(default=0)
    pending_parents = models.IntegerField(default=0)
    taken_parents = models.IntegerField(default=0)

    # Of a step that expanded into scopes
    open_scopes = models.IntegerField(null=True)
    failed_scopes = models.IntegerField(null=True)
    completed_scopes = models.IntegerField(null=True)
    running_scopes = models.IntegerField(null=True)
    max_parallel = models.IntegerField(null=True)
    next_scope = models.IntegerField(null=True)
    """The first that may not have begun."""
    tolerate = models.IntegerField(null=True)
    """More failed scopes than this end the others."""
    enough = models.IntegerField(null=True)
    """So many completed scopes end the others."""

    status = models.CharField(max_length=10, choices=StepStatus.choices)
    attempt = models.IntegerField(default=0)
    """Raised by every claim: the fence. Not the retry cap, which is `failures` against `max_attempts`."""
    failures = models.IntegerField(default=0)
    max_attempts = models.IntegerField()
    worker = models.ForeignKey(
        "runtime.Worker",
        models.DO_NOTHING,
        null=True,
        related_name="steps",
        db_constraint=False,
        db_index=False,
    )
    claim_token = models.UUIDField(null=True)
    """Names the turn that claimed the step: a worker whose answer was lost finds its claim by it."""
    queue = models.CharField(max_length=50)
    priority = models.SmallIntegerField(default=0)
    requires = ArrayField(models.CharField(max_length=50), default=list)
    """Capabilities that a worker must have, sorted."""
    timeout = models.FloatField()
    """Seconds of work that one attempt may take."""

    result = PayloadField(null=True)
    error = models.JSONField(null=True)
    branch = models.CharField(max_length=100, null=True)
    resume = models.JSONField(null=True)
    """What woke the step from its wait."""
    waiting_for = models.CharField(max_length=300, default="", blank=True)

    run_after = models.DateTimeField(null=True)
    ready_at = models.DateTimeField(null=True)
    claimed_at = models.DateTimeField(null=True)
    deadline_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    hint_after = models.DateTimeField(null=True)
    """When workers are told of it once more, if nobody has claimed it by then."""
    hints = models.SmallIntegerField(default=0)
    causes = ArrayField(models.BinaryField(), default=list)
    """Digests of the events that made the step ready."""

    objects = StepQuerySet.as_manager()

    class Meta:
        db_table = "aetheris_step"
        ordering = ("id",)
        constraints = (
            models.UniqueConstraint(fields=("job", "key"), name="aetheris_step_key"),
            sound(
                "aetheris_step_finished_at",
                f"(finished_at IS NULL) = (status::text = ANY ('{{{','.join(STEP_UNFINISHED)}}}'))",
            ),
            sound(
                "aetheris_step_running",
                "status <> 'running' OR num_nulls(worker_id, claimed_at, deadline_at) = 0",
            ),
            sound("aetheris_step_waiting", "(status = 'waiting') = (waiting_for <> '')"),
            sound("aetheris_step_parents", "least(pending_parents, taken_parents) >= 0"),
        )
        indexes = (
            models.Index(
                "job",
                models.F("priority").desc(),
                "id",
                name="aetheris_step_claim",
                condition=Q(status="ready"),
            ),
            models.Index(fields=("scope",), name="aetheris_step_scope", condition=Q(scope__isnull=False)),
            models.Index(
                "queue",
                "requires",
                Greatest("hint_after", "run_after", "ready_at"),
                name="aetheris_step_ready",
                condition=Q(status="ready"),
            ),
            models.Index(
                fields=("deadline_at",), name="aetheris_step_running", condition=Q(status="running")
            ),
        )

    def __str__(self) -> str:
        return f"{self.key} of {self.job_id}"

    @property
    def is_finished(self) -> bool:
        return self.status in STEP_FINISHED

    def turn(self, **kwargs: Any) -> Turn:
        return Turn(self.job_id, **kwargs)

    def claim(self, incarnation: UUID) -> TurnAnswer:
        """Take the step for one attempt. Raises `StaleAttempt` when it was not to be had."""
        answer = claim(self.pk, incarnation)
        if answer is None:
            self.refresh_from_db()
            raise StaleAttempt(
                f"step {self.key} is {self.status} in attempt {self.attempt} and cannot be claimed"
            )
        self._take(answer["claimed"])
        return answer

    def complete(self, result: Any = None, *, branch: str | None = None) -> None:
        with self.turn(worker=self.worker_id) as turn:
            turn.complete(self, result, branch=branch)

    def fail(self, error: dict[str, Any]) -> None:
        with self.turn(worker=self.worker_id) as turn:
            turn.fail(self, error)

    def retry(self, error: dict[str, Any], *, after: timedelta | None = None) -> None:
        with self.turn(worker=self.worker_id) as turn:
            turn.retry(self, error, after=after)

    def rescue(self) -> None:
        """Back to ready after a lost worker; a step whose last attempt this was fails with the reason."""
        self.rescuing().commit()

    def rescuing(self) -> Turn:
        error = {
            "type": "WorkerLost",
            "message": f"worker {self.worker_id} was lost in attempt {self.attempt}",
        }
        turn = self.turn()
        turn.rescue(self, error)
        return turn

    def time_out(self) -> None:
        self.timing_out().commit()

    def timing_out(self) -> Turn:
        error = {
            "type": "StepTimedOut",
            "message": f"attempt {self.attempt} was not done within {self.timeout:g} s",
        }
        turn = self.turn()
        turn.time_out(self, error)
        return turn

    def park(self, waiting: Waiting) -> None:
        with self.turn(worker=self.worker_id) as turn:
            turn.park(self, waiting)

    @property
    def is_spent(self) -> bool:
        """Whether one more failure is the last one."""
        return self.failures + 1 >= self.max_attempts

    @classmethod
    def claimed(cls, columns: dict[str, Any], job: Job) -> Step:
        """The step of a claim's answer; what the answer leaves out is read when it is asked for."""
        step = cls.from_db(job._state.db or "default", CLAIMED, [columns[name] for name in CLAIMED])
        step.worker_id = UUID(columns["worker_id"])
        step.job = job
        return step

    def _take(self, claimed: dict[str, Any]) -> None:
        for name in ("status", "attempt", "failures", "resume"):
            setattr(self, name, claimed[name])
        self.worker_id = UUID(claimed["worker_id"])


class Edge(models.Model):
    """`parent` decides it when it ends: taken or dead."""

    job = models.ForeignKey(Job, models.PROTECT, related_name="edges", db_constraint=False, db_index=False)
    parent = models.ForeignKey(
        Step, models.PROTECT, related_name="out_edges", db_constraint=False, db_index=False
    )
    child = models.ForeignKey(
        Step, models.PROTECT, related_name="in_edges", db_constraint=False, db_index=False
    )
    when = models.CharField(max_length=100, null=True)

    class Meta:
        db_table = "aetheris_edge"
        indexes = (models.Index(fields=("job", "parent"), name="aetheris_edge_parent"),)

    def __str__(self) -> str:
        return f"{self.parent_id} → {self.child_id}"


def claim(step_id: int, incarnation: UUID, *, others: Sequence[str] = ()) -> TurnAnswer | None:
    """Claim a step by its id, or where it is not to be had one of the queues `others`. None where there is none."""
    turn = Turn(step=step_id, worker=incarnation)
    turn.claim(step_id, only=True, with_job=True, with_results=True, others=others)
    answer = turn.commit()
    return answer if answer.get("claimed") else answer.get("taken")
