"""What steps do, in the order of the events: each step a small machine, and the job around them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from tests.history.checker.history import Event, Job, Row
from tests.history.checker.violation import Violation

IDLE, RUNNING, WAITING = "idle", "running", "waiting"
COMPLETED, FAILED, SKIPPED, CANCELLED = "completed", "failed", "skipped", "cancelled"
ENDED = (COMPLETED, FAILED, SKIPPED, CANCELLED)

ARROWS: dict[str, tuple[tuple[str, ...], str]] = {
    "step_claimed": ((IDLE,), RUNNING),
    "step_completed": ((RUNNING,), COMPLETED),
    "step_failed": ((RUNNING,), FAILED),
    "step_retried": ((RUNNING,), IDLE),
    "step_rescued": ((RUNNING,), IDLE),
    "step_timed_out": ((RUNNING,), IDLE),
    "step_parked": ((RUNNING,), WAITING),
    "step_resumed": ((WAITING,), IDLE),
    "step_skipped": ((IDLE,), SKIPPED),
    "step_cancelled": ((IDLE, RUNNING, WAITING), CANCELLED),
}
EVIDENCE = frozenset(
    {"tool_accepted", "tool_returned", "tool_failed", "tool_unknown", "tool_reconciled", "tool_cancelled"}
    | {"model_returned"}
)
"""What may be said by, or of, an attempt after the next one was claimed."""
JOB_ENDS = {"job_completed": COMPLETED, "job_failed": FAILED, "job_cancelled": CANCELLED}
WORK = frozenset(
    {*ARROWS, *JOB_ENDS, "tool_called", "model_called", "tool_reserved", "effect_recorded", "plan_recorded"}
    | {"signal_consumed", "timer_fired", "compensation_planned"}
)
"""What is done for a job only before it has ended."""

BY_ITS_WORKER = frozenset(
    {"step_completed", "step_failed", "step_retried", "step_parked", "effect_recorded"}
    | {"tool_called", "tool_reserved", "model_called"}
)
"""What only the worker that runs a step says of it, where a worker says it."""


@dataclass
class Now:
    """A step at this moment."""

    state: str = IDLE
    attempt: int = 0
    worker: str | None = None
    branch: str | None = None
    parked: Event | None = None
    is_fired: bool = False
    """Whether the time of its wait is over."""
    has_expanded: bool = False


class Progress:
    def __init__(self, job: Job) -> None:
        self.job = job
        self.steps = {key: Now() for key in job.steps}
        self.ended: str | None = None
        self.is_ending = self.is_compensating = self.is_paused = False
        self._parents: dict[str, list[Row]] = defaultdict(list)
        self._handled = {edge["parent"] for edge in job.edges if edge["when"] == "failed"}
        self._inside: dict[str, list[str]] = defaultdict(list)
        self._makers = {key: maker for key in job.steps if (maker := _maker(key)) in job.steps}
        """Of a step that another one made, such as a copy of a map, that other one."""
        for edge in job.edges:
            self._parents[edge["child"]].append(edge)
        for key, row in job.steps.items():
            if row["owner"] is not None:
                self._inside[row["owner"]].append(key)

    def knows(self, event: Event) -> bool:
        return event.step is None or event.step in self.steps

    def see(self, event: Event) -> Iterator[Violation]:
        if self.ended and event.type in WORK:
            yield self.job.broken("after_end", f"{event.type} after the job was {self.ended}", event)
        if event.type in ARROWS:
            yield from self._move(event)
        elif event.attempt is not None and event.type not in EVIDENCE:
            yield from self._fence(event)
        if event.type in BY_ITS_WORKER:
            yield from self._is_by_its_worker(event)
        yield from self._of_the_job(event)

    def step(self, event: Event) -> Now:
        return self.steps[str(event.step)]

    # Steps

    def _move(self, event: Event) -> Iterator[Violation]:
        now = self.step(event)
        allowed, to = ARROWS[event.type]
        if event.type == "step_claimed":
            yield from self._claim(event, now)
        elif broken := list(self._fence(event)):
            yield from broken
        elif now.state == COMPLETED == to:
            yield self.job.broken("completed_twice", f"step {event.step} completes again", event)
        elif now.state not in allowed:
            yield self.job.broken("step_arrow", f"{event.type} of a step that is {now.state}", event)
        if to == COMPLETED or event.data.get("outcome") == "expanded":
            yield from self._owner_goes_on(event)
        now.state = to
        now.parked, now.is_fired = (event, False) if to == WAITING else (None, False)
        if to in (COMPLETED, FAILED):
            now.branch = event.data.get("branch") if to == COMPLETED else "failed"
        if to == FAILED and event.step not in self._handled and self._row(event)["owner"] is None:
            self.is_ending = True

    def _claim(self, event: Event, now: Now) -> Iterator[Violation]:
        key = event.step
        if event.attempt != now.attempt + 1:
            yield self.job.broken("attempt", f"attempt {event.attempt} of {key} after {now.attempt}", event)
        elif now.state != IDLE:
            yield self.job.broken("step_arrow", f"{key} is claimed though it is {now.state}", event)
        elif not self._is_released(str(key)):
            yield self.job.broken("parents", f"{key} is claimed before the parents that it needs", event)
        now.attempt, now.worker = event.attempt or 0, event.said.get("worker")
        if not self._exists(str(key)):
            yield self.job.broken("scopes", f"{key} is claimed before it was made", event)
        if self.is_paused:
            yield self.job.broken("paused", f"{key} is claimed though the job is paused", event)
        if self.is_ending and not (self.is_compensating and self._row(event)["kind"] == "compensation"):
            yield self.job.broken("ending", f"{key} is claimed though the job is ending", event)

    def _fence(self, event: Event) -> Iterator[Violation]:
        now = self.step(event)
        if event.attempt is not None and event.attempt != now.attempt:
            sentence = f"{event.type} of {event.step} by attempt {event.attempt}, the last is {now.attempt}"
            yield self.job.broken("fence", sentence, event)

    def _is_by_its_worker(self, event: Event) -> Iterator[Violation]:
        now, worker = self.step(event), event.said.get("worker")
        if worker and now.worker and worker != now.worker and event.attempt == now.attempt:
            sentence = f"{event.type} of {event.step} by {worker}, which is run by {now.worker}"
            yield self.job.broken("worker", sentence, event)

    def _is_released(self, key: str) -> bool:
        edges = self._parents[key]
        parents = [self.steps[edge["parent"]] for edge in edges]
        taken = sum(_is_taken(edge["when"], parent) for edge, parent in zip(edges, parents, strict=True))
        needed = self.job.steps[key]["join_needed"]
        if needed is not None:
            return taken >= needed or not edges
        return not edges or taken > 0 and all(parent.state in ENDED for parent in parents)

    def _owner_goes_on(self, event: Event) -> Iterator[Violation]:
        for key in self._inside.get(str(event.step), ()):
            if self.steps[key].state not in ENDED:
                yield self.job.broken("scopes", f"{event.step} goes on before {key} has ended", event)
                return

    def _exists(self, key: str) -> bool:
        """Whether the step was made by now."""
        if self.job.steps[key]["kind"] == "compensation":
            return self.is_compensating
        maker = self._makers.get(key)
        return maker is None or self.steps[maker].has_expanded

    def _row(self, event: Event) -> Row:
        return self.job.steps[str(event.step)]

    # The job

    def _of_the_job(self, event: Event) -> Iterator[Violation]:
        match event.type:
            case "plan_recorded" if event.step is not None:
                self.step(event).has_expanded = True
            case "timer_fired":
                self.step(event).is_fired = True
            case "job_paused" | "job_resumed":
                self.is_paused = event.type == "job_paused"
            case "job_timed_out":
                self.is_ending = True
            case "operator_acted" if event.data.get("verb") == "cancel":
                self.is_ending = True
            case "compensation_planned":
                self.is_ending = self.is_compensating = True
                self.is_paused = False
            case "job_forked":
                for key, status, branch in event.data["copied"]:
                    self.steps[key].state, self.steps[key].branch = status, branch or None
            case "job_reopened":
                yield from self._reopen(event)
            case "job_completed" | "job_failed" | "job_cancelled":
                yield from self._end(event)

    def _end(self, event: Event) -> Iterator[Violation]:
        self.ended, self.is_paused = JOB_ENDS[event.type], False
        for key, now in self.steps.items():
            if now.state not in ENDED and self._exists(key):
                yield self.job.broken("job_end", f"the job ends though {key} is {now.state}", event)
                return
        if event.type == "job_completed" and self.is_ending:
            yield self.job.broken("job_end", "the job completes though it was to fail or be cancelled", event)

    def _reopen(self, event: Event) -> Iterator[Violation]:
        """What failed for good, or was cancelled, is undecided again, unless what is around it went well."""
        if self.ended in (None, COMPLETED):
            yield self.job.broken("after_end", "a job is reopened that has not failed", event)
        undone: dict[str, None] = {}
        for key, now in self.steps.items():
            owner = self.job.steps[key]["owner"]
            is_fallen = now.state == CANCELLED or now.state == FAILED and key not in self._handled
            if is_fallen and (owner is None or owner in undone):
                undone[key] = None
                now.state, now.branch = IDLE, None
        for key in undone:
            copies = [self.steps[inner] for inner in self._inside.get(key, ()) if self._exists(inner)]
            if any(copy.state not in ENDED for copy in copies):
                self.steps[key].state = WAITING
        self.ended, self.is_ending, self.is_compensating = None, False, False


def _maker(key: str) -> str:
    """`each` of `each[3].pay`, `grow` of `grow.more`."""
    before = key.rpartition(".")[0]
    return before[: before.rindex("[")] if before.endswith("]") else before


def _is_taken(when: str | None, parent: Now) -> bool:
    if parent.state == COMPLETED:
        return when is None or when == parent.branch
    return parent.state == FAILED and when == "failed"
