"""The state of a job after event n: a pure fold over events 1..n. Trace, replay and `doctor` use this one.

That a step became ready is not recorded; it follows from the graph and the events, by the same join rules as
in the gate. So the fold needs the graph, and nothing but the headers: erasing payloads never breaks it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, fields
from itertools import islice
from typing import Any

from runtime.graph import Plan, PlannedEdge, TaskGraph
from runtime.states import JOB_FINISHED, STEP_FINISHED, JobStatus, StepStatus

Header = dict[str, Any]


@dataclass
class ScopeState:
    """One copy of a sub-graph that a step expanded into."""

    owner: str
    unfinished: int
    is_pending: bool
    has_failed: bool = False
    keys: list[str] = field(default_factory=list)


@dataclass
class Expansion:
    """The copies of one owner, and when the others need not go on."""

    scopes: list[ScopeState]
    max_parallel: int
    tolerate: int | None
    enough: int | None
    failed: int = 0
    completed: int = 0
    running: int = 0
    following: int = 0
    """The first that may not have begun."""

    @property
    def is_decided(self) -> bool:
        too_many = self.tolerate is not None and self.failed > self.tolerate
        return too_many or (self.enough is not None and self.completed >= self.enough)

    def begin(self) -> Iterator[ScopeState]:
        """Those that begin now, in item order, while fewer than `max_parallel` are under way."""
        while self.running < self.max_parallel and self.following < len(self.scopes):
            scope = self.scopes[self.following]
            self.following += 1
            if scope.is_pending:
                scope.is_pending = False
                self.running += 1
                yield scope


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
    scope: ScopeState | None = None


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


def fold(headers: Iterable[Header], graph_of: Callable[[str], TaskGraph]) -> JobState:
    """Fold event headers, in order, into a state. `graph_of` answers the graph of a digest."""
    folding = Folding(graph_of)
    for header in headers:
        folding.apply(header)
    folding.derive_status()
    return folding.state


class Folding:
    def __init__(self, graph_of: Callable[[str], TaskGraph]) -> None:
        self.state = JobState()
        self._graph_of = graph_of
        self._expansions: dict[str, Expansion] = {}
        self._has_parents: set[str] = set()
        self._children: dict[str, list[PlannedEdge]] = defaultdict(list)

    def frozen(self) -> dict[str, Any]:
        """Everything that the events that follow may need, as JSON: the counterpart of `thawed`."""
        scopes = [scope for expansion in self._expansions.values() for scope in expansion.scopes]
        places = {id(scope): place for place, scope in enumerate(scopes)}
        return {
            "job": {
                each.name: getattr(self.state, each.name) for each in fields(JobState) if each.name != "steps"
            },
            "steps": {
                key: [*_row(step)[:-1], None if step.scope is None else places[id(step.scope)]]
                for key, step in self.state.steps.items()
            },
            "scopes": [_row(scope) for scope in scopes],
            "expansions": {
                owner: [len(each.scopes), *_row(each)[1:]] for owner, each in self._expansions.items()
            },
            "children": {
                key: [(edge.child_key, edge.when) for edge in edges]
                for key, edges in self._children.items()
                if edges
            },
        }

    @classmethod
    def thawed(cls, frozen: dict[str, Any], graph_of: Callable[[str], TaskGraph]) -> Folding:
        folding = cls(graph_of)
        scopes = [ScopeState(*row) for row in frozen["scopes"]]
        steps = {key: _step_of(row, scopes) for key, row in frozen["steps"].items()}
        folding.state = JobState(**frozen["job"], steps=steps)
        ordered = iter(scopes)
        for owner, (count, *rest) in frozen["expansions"].items():
            folding._expansions[owner] = Expansion(list(islice(ordered, count)), *rest)
        for parent, edges in frozen["children"].items():
            folding._children[parent] = [PlannedEdge(parent, child, when) for child, when in edges]
            folding._has_parents.update(child for child, _ in edges)
        return folding

    def apply(self, header: Header) -> None:
        self.state.seq = header["seq"]
        if handler := _HANDLERS.get(header["type"]):
            handler(self, header)
        if "entry" in header["data"]:
            data = header["data"]
            self.state.ledger[f"{header['step']}.{data['call']}#{data['generation']}"] = data["entry"]

    def plan(self, header: Header) -> None:
        """A job's own graph, one that a step added, or the copies that a step expanded into."""
        data, owner = header["data"], header.get("step")
        plan = self._graph_of(data["graph_digest"]).plan()
        if owner is None:
            self._add(plan, "", None)
        elif "scopes" in data:
            self._expand(owner, plan, data)
        else:
            self._add(plan, f"{owner}.", self.state.steps[owner].scope)

    def _expand(self, owner: str, plan: Plan, data: dict[str, Any]) -> None:
        parallel = data.get("max_parallel", data["scopes"])
        scopes = [ScopeState(owner, 0, is_pending=True) for _ in range(data["scopes"])]
        expansion = Expansion(scopes, parallel, data.get("tolerate"), data.get("enough"))
        self._expansions[owner] = expansion
        for index, scope in enumerate(scopes):
            self._add(plan, f"{owner}[{index}]." if data["indexed"] else f"{owner}.", scope)
        self._fill(expansion)

    def _add(self, plan: Plan, prefix: str, scope: ScopeState | None) -> None:
        for edge in plan.edges:
            added = PlannedEdge(prefix + edge.parent_key, prefix + edge.child_key, edge.when)
            self._children[added.parent_key].append(added)
            self._has_parents.add(added.child_key)
        for step in plan.steps:
            needed = None if step.join == "all" else step.join_needed
            is_held = step.parents > 0 or (scope is not None and scope.is_pending)
            status = StepStatus.BLOCKED if is_held else StepStatus.READY
            self.state.steps[prefix + step.key] = StepState(needed, step.parents, status=status, scope=scope)
            if scope is not None:
                scope.unfinished += 1
                scope.keys.append(prefix + step.key)

    def _fill(self, expansion: Expansion) -> None:
        """What `aetheris_fill` does: scopes begin, and after a reopening those within them go on."""
        for scope in expansion.begin():
            for key in scope.keys:
                step = self.state.steps[key]
                if step.status == StepStatus.BLOCKED and self._is_free(key, step):
                    step.status = StepStatus.READY
                elif step.status == StepStatus.WAITING and key in self._expansions:
                    self._fill(self._expansions[key])

    def _is_free(self, key: str, step: StepState) -> bool:
        return key not in self._has_parents or _is_released(step)

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
        if not self._is_final(header["step"]):
            self._decide(header["step"], lambda when: when == "failed")
        elif step.scope is None:
            self.state.ending_as = self.state.ending_as or JobStatus.FAILED

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

    def reopen(self, header: Header) -> None:
        """What `aetheris_reopen` does: what failed, or was cancelled with it, is undecided again."""
        undone = self._undone()
        for key in undone:
            step = self.state.steps[key]
            step.status, step.failures, step.branch = StepStatus.BLOCKED, 0, None
        self.state.ending_as = None
        self.state.status = JobStatus.RUNNING
        reopened = [self._expansions[key] for key in undone if key in self._expansions]
        for expansion in reopened:
            self._reopen_scopes(expansion)
        self._redecide()
        for expansion in reopened:
            owner = self.state.steps[expansion.scopes[0].owner]
            if owner.status == StepStatus.WAITING and owner.scope is None:
                self._fill(expansion)

    def _undone(self) -> dict[str, None]:
        """What fell inside an expansion that went well, because its policy tolerates that, stays as it is."""
        undone: dict[str, None] = {}
        for key, step in self.state.steps.items():  # an owner comes before what it expanded into
            has_fallen = step.status == StepStatus.CANCELLED or (
                step.status == StepStatus.FAILED and self._is_final(key)
            )
            if has_fallen and (step.scope is None or step.scope.owner in undone):
                undone[key] = None
        return undone

    def _reopen_scopes(self, expansion: Expansion) -> None:
        for scope in expansion.scopes:
            statuses = [self.state.steps[key].status for key in scope.keys]
            scope.unfinished = sum(status not in STEP_FINISHED for status in statuses)
            scope.is_pending = scope.unfinished > 0
            scope.has_failed = scope.has_failed and not scope.unfinished
        expansion.failed = expansion.running = expansion.following = 0
        expansion.completed = sum(scope.unfinished == 0 for scope in expansion.scopes)
        if expansion.completed < len(expansion.scopes):
            owner = expansion.scopes[0].owner
            self.state.steps[owner].status = StepStatus.WAITING
            self.state.steps[owner].waiting_for = f"scopes:{owner}"

    def fork(self, header: Header) -> None:
        """A fork begins with what its origin had done before."""
        for key, status, branch in header["data"]["copied"]:
            self.state.steps[key].status, self.state.steps[key].branch = status, branch or None
        self._redecide()

    def _redecide(self) -> None:
        """What `aetheris_redecide` does: count the edges of blocked steps from scratch."""
        blocked = {key for key, step in self.state.steps.items() if step.status == StepStatus.BLOCKED}
        for key in blocked:
            self.state.steps[key].pending = self.state.steps[key].taken = 0
        self._count_edges(blocked)
        for key in blocked:
            step = self.state.steps[key]
            is_held = step.scope is not None and step.scope.is_pending
            if not is_held and self._is_free(key, step):
                step.status = StepStatus.READY

    def _count_edges(self, children: set[str]) -> None:
        for parent_key, edges in self._children.items():
            parent = self.state.steps[parent_key]
            for edge in edges:
                if edge.child_key in children:
                    child = self.state.steps[edge.child_key]
                    child.pending += parent.status not in STEP_FINISHED
                    child.taken += _is_taken(edge.when, parent)

    def operate(self, header: Header) -> None:
        if header["data"].get("verb") == "cancel":
            self.state.ending_as = self.state.ending_as or JobStatus.CANCELLED

    def time_out_job(self, header: Header) -> None:
        self.state.ending_as = self.state.ending_as or JobStatus.FAILED

    def compensate(self, header: Header) -> None:
        """What `aetheris_compensate` does: steps that undo, each after the one before it."""
        keys = header["data"]["steps"]
        for before, key in zip([None, *keys], keys, strict=False):
            status = StepStatus.BLOCKED if before else StepStatus.READY
            self.state.steps[key] = StepState(None, int(before is not None), status=status)
            if before:
                self._children[before].append(PlannedEdge(before, key, None))
        self.state.ending_as = header["data"]["ending_as"]
        self.state.paused = False

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
        if step.scope is not None:
            self._leave(step.scope, has_failed=status == StepStatus.FAILED and self._is_final(header["step"]))
        return step

    def _is_final(self, key: str) -> bool:
        """Whether a failure of this step is one of what is around it."""
        return not any(edge.when == "failed" for edge in self._children[key])

    def _leave(self, scope: ScopeState, *, has_failed: bool) -> None:
        """A step of the scope ended; the last one closes it, and a closed scope lets the next one begin."""
        scope.unfinished -= 1
        scope.has_failed |= has_failed
        if scope.unfinished:
            return
        expansion = self._expansions[scope.owner]
        expansion.failed += scope.has_failed
        expansion.completed += not scope.has_failed
        expansion.running -= not scope.is_pending
        owner_waits = self.state.steps[scope.owner].status == StepStatus.WAITING
        if owner_waits and not expansion.is_decided and self.state.ending_as is None:
            self._fill(expansion)

    def _decide(self, parent: str, is_taken: Callable[[str | None], bool]) -> None:
        for edge in self._children[parent]:
            child = self.state.steps[edge.child_key]
            child.pending -= 1
            child.taken += is_taken(edge.when)
            if child.status == StepStatus.BLOCKED and _is_released(child):
                child.status = StepStatus.READY

    def derive_status(self) -> None:
        """The status of a job that goes on, from its steps: once, when all is folded."""
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


def _row(value: Any) -> list[Any]:
    return [getattr(value, each.name) for each in fields(value)]


def _step_of(row: list[Any], scopes: list[ScopeState]) -> StepState:
    step = StepState(*row)
    step.scope = None if row[-1] is None else scopes[row[-1]]
    return step


def _is_taken(when: str | None, parent: StepState) -> bool:
    if parent.status == StepStatus.COMPLETED:
        return when is None or when == parent.branch
    return parent.status == StepStatus.FAILED and when == "failed"


def _is_released(child: StepState) -> bool:
    if child.join_needed is None:
        return child.pending == 0 and child.taken > 0
    return child.taken >= child.join_needed


_HANDLERS: dict[str, Callable[[Folding, Header], None]] = {
    "plan_recorded": Folding.plan,
    "step_claimed": Folding.claim,
    "step_completed": Folding.complete,
    "step_failed": Folding.fail,
    "step_skipped": Folding.skip,
    "step_cancelled": Folding.cancel_step,
    "step_retried": Folding.again,
    "step_rescued": Folding.again,
    "step_timed_out": Folding.again,
    "step_parked": Folding.park,
    "step_resumed": Folding.resume,
    "compensation_planned": Folding.compensate,
    "operator_acted": Folding.operate,
    "job_reopened": Folding.reopen,
    "job_forked": Folding.fork,
    "job_timed_out": Folding.time_out_job,
    "job_paused": Folding.pause,
    "job_resumed": Folding.pause,
    "job_completed": Folding.end,
    "job_failed": Folding.end,
    "job_cancelled": Folding.end,
}
