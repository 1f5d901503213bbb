"""Forks: a new job from step k on, with the history before it. The original is left as it is.

What was done before step k is copied as results and not done again. What comes after is done anew under keys of
its own, so a fork says beforehand which effects of the original may happen a second time.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from runtime import agents, compensations
from runtime.exceptions import InputInvalid, StepNotFound
from runtime.graph.kinds import SHAPES
from runtime.models import Blob, Job, LedgerEntry, Step
from runtime.planning import Request, begin
from runtime.rows import Rows
from runtime.states import EntryState, StepStatus
from runtime.turn import part
from runtime.values import check

UNCHANGED = object()

CALLING = ("tool", "function")
"""Kinds that are given `inputs` and nothing else."""

COPIED = (StepStatus.COMPLETED, StepStatus.SKIPPED, StepStatus.FAILED)
MAY_HAVE_HAPPENED = (
    EntryState.STARTED,
    EntryState.ACCEPTED,
    EntryState.COMMITTED,
    EntryState.UNKNOWN,
    EntryState.ABANDONED,
)


@dataclass(frozen=True)
class ForkPlan:
    """What a fork would do: steps whose results it takes over, steps it runs, effects that may happen again."""

    step: str
    copied: list[str]
    again: list[str]
    effects: list[dict[str, Any]]


def plan(job: Job, step_key: str) -> ForkPlan:
    """Look before forking. Raises `StepNotFound`, or `InputInvalid` for a step inside a map or plan."""
    own = job.steps.filter(scope=None).exclude(kind=compensations.KIND)
    steps = {step.key: step for step in own.for_list() if step.key == _outermost(step.key)}
    _check_step(job, step_key, steps)
    after = _downstream(job, step_key, *_undone(job))
    copied = [key for key, step in steps.items() if key not in after and step.status in COPIED]
    taken_over = set(copied)
    again = [key for key in steps if key not in taken_over]
    entries = LedgerEntry.objects.filter(job=job, kind="tool", state__in=MAY_HAVE_HAPPENED)
    entries = entries.exclude(step__kind=compensations.KIND)
    effects = [
        {"step": entry.step.key, "tool": entry.name, "state": entry.state, "arguments": entry.arguments}
        for entry in entries.select_related("step")
        if not entry.policy.get("read_only") and _outermost(entry.step.key) not in taken_over
    ]
    return ForkPlan(step_key, copied, again, effects)


def fork(
    job: Job,
    step_key: str,
    *,
    input: Any = UNCHANGED,
    step_input: Mapping[str, Any] | None = None,
    by: str = "",
    why: str = "",
) -> Job:
    """Begin the fork.

    `input` replaces the job's input for the steps that run, `step_input` what the step itself is given: some of the
    inputs of a tool or function, some keys of a node of another kind, such as an `llm`'s `prompt`. As in a graph,
    `${…}` in its texts is an expression. Raises `StepNotFound`, `InputInvalid` or `GraphInvalid`.
    """
    planned = plan(job, step_key)
    given = job.input if input is UNCHANGED else input
    check(given, "input")
    check(why, "why")
    recorded = Blob.objects.values_list("value", flat=True).get(tenant=job.tenant, digest=job.graph_digest)
    graph = agents.parse(
        _edited(recorded, step_key, step_input) if step_input else recorded, sources=agents.sources(job.agent)
    )
    own = Rows.of(graph, policy=agents.policy_of(job.agent))
    request = Request(job.agent, job.agent_version, graph, own, job.timeout)
    columns = {
        "tenant": job.tenant,
        "submitted_by": by,
        "queue": job.queue,
        "priority": job.priority,
        "requires": job.requires,
        "idempotency_key": None,
    }
    turn, _ = begin(request, given, columns)
    rows = list(
        job.steps.filter(key__in=planned.copied, scope=None).values("key", "status", "result", "branch")
    )
    turn.copy(rows)
    data = {
        "origin": str(job.pk),
        "origin_seq": job.seq,
        "step": step_key,
        "copied": [[row["key"], row["status"], row["branch"] or ""] for row in rows],
    }
    turn.event("job_forked", data=data, parts=[part("operator", {"by": by, "why": why})])
    return Job.objects.get(pk=turn.commit()["job"])


def _edited(graph: dict[str, Any], step_key: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The graph with something else in one of its nodes."""
    check(dict(given), "step_input")
    nodes = [_with(node, given) if node["id"] == step_key else node for node in graph["nodes"]]
    return {**graph, "nodes": nodes}


def _with(node: dict[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    shape = SHAPES.get(node["kind"])
    own = {*shape.required, *shape.optional} if shape and node["kind"] not in CALLING else set()
    if given.keys() <= own:
        return {**node, **given}
    if shape and node["kind"] not in (*CALLING, "plan"):
        unknown = ", ".join(sorted(given.keys() - own))
        known = ", ".join(sorted(own))
        raise InputInvalid("step_input", f"a {node['kind']} is given no {unknown}; it has {known}")
    return {**node, "inputs": {**node.get("inputs", {}), **given}}


def _outermost(step_key: str) -> str:
    """The step of the job's own graph that a step belongs to: a map or plan around it, or what spawned it."""
    return re.split(r"[.\[]", step_key, maxsplit=1)[0]


def _check_step(job: Job, step_key: str, steps: dict[str, Step]) -> None:
    if step_key in steps:
        return
    if job.steps.filter(key=step_key).exists():
        outermost = _outermost(step_key)
        raise InputInvalid("step", f"{step_key!r} belongs to {outermost!r}: fork from that")
    raise StepNotFound(f"{step_key!r} in job {job.pk}")


def _undone(job: Job) -> set[str]:
    """Steps of which calls were undone: what they answered is not true any more."""
    undone = job.ledger.filter(state=EntryState.COMPENSATED).values_list("step__key", flat=True)
    return {_outermost(key) for key in undone}


def _downstream(job: Job, *step_keys: str) -> set[str]:
    """The steps and everything that an edge leads to from them."""
    children: dict[str, list[str]] = defaultdict(list)
    for parent, child in job.edges.values_list("parent__key", "child__key"):
        children[parent].append(child)
    found, open_ = set(step_keys), list(step_keys)
    while open_:
        for child in children[open_.pop()]:
            if child not in found:
                found.add(child)
                open_.append(child)
    return found
