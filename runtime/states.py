"""The lifecycles: statuses, and which status may follow which. Nothing else decides a lifecycle.

The allowed old states of a verb travel with every move to the SQL function that is the gate, and the
database mirrors the tables with CHECK constraints. `docs/lifecycle.md` draws what is listed here.
"""

from typing import NamedTuple

from django.db.models import TextChoices


class JobStatus(TextChoices):
    PENDING = "pending"
    RUNNING = "running"
    WAITING = "waiting"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class StepStatus(TextChoices):
    BLOCKED = "blocked"
    READY = "ready"
    RUNNING = "running"
    WAITING = "waiting"
    COMPLETED = "completed"
    FAILED = "failed"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"


class EntryState(TextChoices):
    """What is known of one intended effect."""

    RESERVED = "reserved"
    STARTED = "started"
    ACCEPTED = "accepted"
    COMMITTED = "committed"
    REFUSED = "refused"
    UNKNOWN = "unknown"
    ABANDONED = "abandoned"
    FAILED = "failed"
    CANCELLED = "cancelled"
    COMPENSATED = "compensated"


class SignalState(TextChoices):
    BUFFERED = "buffered"
    CONSUMED = "consumed"
    REFUSED = "refused"


class WebhookState(TextChoices):
    """What became of an event that a provider sent."""

    RECEIVED = "received"
    APPLIED = "applied"
    REPEATED = "repeated"
    CONTRADICTED = "contradicted"
    IGNORED = "ignored"
    UNREADABLE = "unreadable"


JOB_FINISHED = (JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED)
JOB_UNFINISHED = (JobStatus.PENDING, JobStatus.RUNNING, JobStatus.WAITING)
STEP_FINISHED = (StepStatus.COMPLETED, StepStatus.FAILED, StepStatus.SKIPPED, StepStatus.CANCELLED)
STEP_UNFINISHED = (StepStatus.BLOCKED, StepStatus.READY, StepStatus.RUNNING, StepStatus.WAITING)

STEP_ALLOWED_FROM: dict[StepStatus, tuple[StepStatus, ...]] = {
    StepStatus.READY: (StepStatus.BLOCKED, StepStatus.RUNNING, StepStatus.WAITING),
    StepStatus.RUNNING: (StepStatus.READY, StepStatus.BLOCKED),
    StepStatus.WAITING: (StepStatus.RUNNING,),
    StepStatus.COMPLETED: (StepStatus.RUNNING,),
    StepStatus.FAILED: (StepStatus.RUNNING,),
    StepStatus.SKIPPED: (StepStatus.BLOCKED,),
    StepStatus.CANCELLED: STEP_UNFINISHED,
}

STEP_REOPENED_FROM: dict[StepStatus, tuple[StepStatus, ...]] = {
    StepStatus.BLOCKED: (StepStatus.FAILED, StepStatus.CANCELLED),
    StepStatus.WAITING: (StepStatus.BLOCKED,),
}
"""What the reopening of a failed job does beside: what fell is undecided, and an expanded step waits for its scopes."""

STEP_COPIED_FROM: dict[StepStatus, tuple[StepStatus, ...]] = {
    StepStatus.COMPLETED: (StepStatus.BLOCKED, StepStatus.READY),
    StepStatus.FAILED: (StepStatus.BLOCKED, StepStatus.READY),
    StepStatus.SKIPPED: (StepStatus.BLOCKED,),
}
"""What the beginning of a fork does beside: its new steps are what the steps of its origin were."""

ENTRY_ALLOWED_FROM: dict[EntryState, tuple[EntryState, ...]] = {
    EntryState.STARTED: (EntryState.RESERVED, EntryState.REFUSED, EntryState.UNKNOWN),
    EntryState.ACCEPTED: (EntryState.STARTED, EntryState.UNKNOWN),
    EntryState.COMMITTED: (EntryState.STARTED, EntryState.ACCEPTED, EntryState.UNKNOWN),
    EntryState.REFUSED: (EntryState.STARTED, EntryState.UNKNOWN),
    EntryState.UNKNOWN: (EntryState.STARTED, EntryState.ACCEPTED),
    EntryState.ABANDONED: (EntryState.UNKNOWN,),
    EntryState.FAILED: (EntryState.REFUSED, EntryState.ACCEPTED),
    EntryState.CANCELLED: (EntryState.RESERVED,),
    EntryState.COMPENSATED: (EntryState.COMMITTED,),
}
"""A new entry begins as reserved or started; the database trigger refuses every other arrow."""


class Arrow(NamedTuple):
    """One verb of a step: where it may start, where it ends, and the event that tells of it."""

    allowed_from: tuple[StepStatus, ...]
    to: StepStatus
    event: str


STEP_ARROWS: dict[str, Arrow] = {
    "complete": Arrow((StepStatus.RUNNING,), StepStatus.COMPLETED, "step_completed"),
    "fail": Arrow((StepStatus.RUNNING,), StepStatus.FAILED, "step_failed"),
    "retry": Arrow((StepStatus.RUNNING,), StepStatus.READY, "step_retried"),
    "rescue": Arrow((StepStatus.RUNNING,), StepStatus.READY, "step_rescued"),
    "time_out": Arrow((StepStatus.RUNNING,), StepStatus.READY, "step_timed_out"),
    "hand_back": Arrow((StepStatus.RUNNING,), StepStatus.READY, "step_retried"),
    "park": Arrow((StepStatus.RUNNING,), StepStatus.WAITING, "step_parked"),
    "resume": Arrow((StepStatus.WAITING,), StepStatus.READY, "step_resumed"),
}
"""The verbs that Python names. Release, claim, skip and cancel happen inside the gate itself."""
