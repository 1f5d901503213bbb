"""The state of a job after event n: a pure fold over events 1..n. Trace, replay and `doctor` use this one.

That a step became ready is not recorded; it follows from the graph and the events, by the same join rules as
in the gate. So the fold needs the graph, and nothing but the headers: erasing payloads never breaks it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from runtime.graph import PlannedEdge, TaskGraph
from runtime.states import JOB_FINISHED, STEP_FINISHED, JobStatus, StepStatus

if TYPE_CHECKING:
    from runtime.models import Job

Header = dict[str, Any]


@dataclass
class StepState:
    """What the events say of one step."""

    join_needed: int | None
    pending: int
    taken: int = 0
    status: str = StepStatus.BLOCKED
    attempt: int = 0
    failures: int = 0
    branch: str | None = None
    waiting_for: str = ""


@dataclass
class JobState:
    """What the events say of a job, after event `seq`."""

    status: str = JobStatus.PENDING
    seq: int = 0
    steps: dict[str, StepState] = field(default_factory=dict)
    ledger: dict[str, str] = field(default_factory=dict)
    """`step.call#generation` → state of the entry."""
    paused: bool = False
    ending_as: str | None = None
    started: bool = False

    def as_json(self) -> dict[str, Any]:
        steps = {
            key: {
                "status": str(step.status),
                "attempt": step.attempt,
                "failures": step.failures,
                "branch": step.branch,
                "waiting_for": step.waiting_for,
            }
            for key, step in self.steps.items()
        }
        return {
            "seq": self.seq,
            "status": str(self.status),
            "paused": self.paused,
            "ending_as": self.ending_as,
            "steps": steps,
            "ledger": self.ledger,
        }


def fold(headers: Iterable[Header], graph: TaskGraph) -> JobState:
    """Fold event headers, in order, into a state."""
    folding = _Folding(graph)
    for header in headers:
        folding.apply(header)
    return folding.state


def state_at(job: Job, seq: int | None = None) -> JobState:
    """The state of a job after event `seq`, or after its last one. Reads rows and runs no code of the job."""
    from runtime.models import Blob  # the fold itself needs no database

    events = job.events.order_by("seq")
    if seq is not None:
        events = events.filter(seq__lte=seq)
    graph = TaskGraph.parse(
        Blob.objects.values_list("value", flat=True).get(tenant=job.tenant, digest=job.graph_digest)
    )
    return fold((event.as_header() for event in events.only("header").iterator()), graph)


class _Folding:
    def __init__(self, graph: TaskGraph) -> None:
        self.state = JobState()
        self._graph = graph
        self._children: dict[str, list[PlannedEdge]] = defaultdict(list)

    def apply(self, header: Header) -> None:
        self.state.seq = header["seq"]
        if handler := _HANDLERS.get(header["type"]):
            handler(self, header)
        if "entry" in header["data"]:
            data = header["data"]
            self.state.ledger[f"{header['step']}.{data['call']}#{data['generation']}"] = data["entry"]
        self._derive_status()

    def plan(self, header: Header) -> None:
        plan = self._graph.plan()
        for edge in plan.edges:
            self._children[edge.parent_key].append(edge)
        for step in plan.steps:
            needed = None if step.join == "all" else step.join_needed
            status = StepStatus.BLOCKED if step.parents else StepStatus.READY
            self.state.steps[step.key] = StepState(needed, step.parents, status=status)

    def claim(self, header: Header) -> None:
        step = self._step(header)
        step.status, step.attempt = StepStatus.RUNNING, header["attempt"]
        self.state.started = True

    def complete(self, header: Header) -> None:
        step = self._end(header, StepStatus.COMPLETED)
        step.branch = header["data"].get("branch")
        self._decide(header["step"], lambda when: when is None or when == step.branch)

    def fail(self, header: Header) -> None:
        step = self._end(header, StepStatus.FAILED)
        step.branch, step.failures = "failed", header["data"]["failures"]
        if not any(edge.when == "failed" for edge in self._children[header["step"]]):
            self.state.ending_as = self.state.ending_as or JobStatus.FAILED
        self._decide(header["step"], lambda when: when == "failed")

    def skip(self, header: Header) -> None:
        self._end(header, StepStatus.SKIPPED)
        self._decide(header["step"], lambda when: False)

    def cancel_step(self, header: Header) -> None:
        step = self._end(header, StepStatus.CANCELLED)
        step.failures = header["data"].get("failures", step.failures)

    def again(self, header: Header) -> None:
        step = self._step(header)
        step.status, step.failures = StepStatus.READY, header["data"]["failures"]

    def park(self, header: Header) -> None:
        step = self._step(header)
        step.status = StepStatus.WAITING
        step.waiting_for = f"{header['data']['wait']}:{header['data']['name']}"

    def resume(self, header: Header) -> None:
        step = self._step(header)
        step.status, step.waiting_for = StepStatus.READY, ""

    def operate(self, header: Header) -> None:
        if header["data"].get("verb") == "cancel":
            self.state.ending_as = self.state.ending_as or JobStatus.CANCELLED

    def pause(self, header: Header) -> None:
        self.state.paused = header["type"] == "job_paused"

    def end(self, header: Header) -> None:
        self.state.status = JobStatus(header["type"].removeprefix("job_"))
        self.state.paused = False

    def _step(self, header: Header) -> StepState:
        return self.state.steps[header["step"]]

    def _end(self, header: Header, status: StepStatus) -> StepState:
        step = self._step(header)
        step.status, step.waiting_for = status, ""
        return step

    def _decide(self, parent: str, is_taken: Callable[[str | None], bool]) -> None:
        if self.state.ending_as is not None:
            return
        for edge in self._children[parent]:
            child = self.state.steps[edge.child_key]
            child.pending -= 1
            child.taken += is_taken(edge.when)
            if child.status == StepStatus.BLOCKED and _is_released(child):
                child.status = StepStatus.READY

    def _derive_status(self) -> None:
        if self.state.status in JOB_FINISHED:
            return
        statuses = (
            {step.status for step in self.state.steps.values()} - set(STEP_FINISHED) - {StepStatus.BLOCKED}
        )
        if not self.state.started:
            self.state.status = JobStatus.PENDING
        elif statuses == {StepStatus.WAITING}:
            self.state.status = JobStatus.WAITING
        else:
            self.state.status = JobStatus.RUNNING


def _is_released(child: StepState) -> bool:
    if child.join_needed is None:
        return child.pending == 0 and child.taken > 0
    return child.taken >= child.join_needed


_HANDLERS: dict[str, Callable[[_Folding, Header], None]] = {
    "plan_recorded": _Folding.plan,
    "step_claimed": _Folding.claim,
    "step_completed": _Folding.complete,
    "step_failed": _Folding.fail,
    "step_skipped": _Folding.skip,
    "step_cancelled": _Folding.cancel_step,
    "step_retried": _Folding.again,
    "step_rescued": _Folding.again,
    "step_timed_out": _Folding.again,
    "step_parked": _Folding.park,
    "step_resumed": _Folding.resume,
    "operator_acted": _Folding.operate,
    "job_paused": _Folding.pause,
    "job_resumed": _Folding.pause,
    "job_completed": _Folding.end,
    "job_failed": _Folding.end,
    "job_cancelled": _Folding.end,
}
