"""From a request to a job: the agent's graph becomes steps and edges, recorded in the submit transaction."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from runtime import agents, chain, expressions
from runtime.conf import settings
from runtime.exceptions import IdempotencyConflict
from runtime.graph import PlannedStep, TaskGraph
from runtime.models.base import new_id
from runtime.turn import Turn, part
from runtime.values import check, check_text

if TYPE_CHECKING:
    from runtime.models import Job

AD_HOC = "graph"
"""The agent name of jobs whose graph came with the request."""


@dataclass(frozen=True)
class Request:
    """What is to be run: a registered agent's graph, or one that came along."""

    agent: str
    version: str
    graph: TaskGraph


def submit(
    agent: str | None,
    input: Any,
    *,
    graph: Any = None,
    idempotency_key: str | None = None,
    tenant: str = "default",
    by: str = "",
    queue: str | None = None,
    priority: int = 0,
) -> Job:
    """See `Job.objects.submit`; `graph` is a TaskGraph in wire form instead of an agent's name."""
    from runtime.models import Job  # the models' verbs end here

    request = _request(agent, graph)
    check(input, "input")
    check_text(idempotency_key, "idempotency_key", 255)
    rows = _rows(request.graph.digest, request.graph)
    digest = hashlib.sha256(
        chain.canonical([request.agent, request.graph.digest if graph else "", input])
    ).hexdigest()
    job_id = new_id()
    turn = Turn(job_id)
    turn.submit(
        {
            "id": str(job_id),
            "tenant": tenant,
            "agent": request.agent,
            "agent_version": request.version,
            "graph_digest": request.graph.digest,
            "input": input,
            "result_template": rows.result_template,
            "idempotency_key": idempotency_key,
            "request_digest": digest,
            "submitted_by": by,
            "queue": queue or "default",
            "priority": priority,
        }
    )
    turn.add_steps(rows.steps, rows.edges, {request.graph.digest: request.graph.to_json()})
    facts = {"agent": request.agent, "agent_version": request.version}
    turn.event("job_submitted", data=facts, parts=[part("input", input), part("submitter", by)])
    turn.event("plan_recorded", data={"graph_digest": request.graph.digest, "steps": len(rows.steps)})
    answer = turn.commit()
    if "existing" in answer:
        if answer["request_digest"] != digest:
            raise IdempotencyConflict(str(idempotency_key), answer["existing"])
        job = Job.objects.get(pk=answer["existing"])
        job.is_repeat = True
        return job
    return Job.objects.get(pk=job_id)


def _request(agent: str | None, graph: Any) -> Request:
    if graph is not None:
        parsed, version = agents.ad_hoc(graph)
        return Request(AD_HOC, version, parsed)
    found = agents.get(str(agent))
    return Request(found.name, found.version, found.graph)


@dataclass(frozen=True)
class Rows:
    steps: list[dict[str, Any]]
    edges: list[dict[str, Any]]
    result_template: dict[str, Any]


@lru_cache(maxsize=256)
def _rows(digest: str, graph: TaskGraph) -> Rows:
    """The rows of a graph, made once: every job of an agent has the same."""
    plan = graph.plan()
    edges = [{"parent": edge.parent_key, "child": edge.child_key, "when": edge.when} for edge in plan.edges]
    return Rows([_row(step) for step in plan.steps], edges, _result_template(plan.result, plan.steps, edges))


def _row(step: PlannedStep) -> dict[str, Any]:
    parks = step.kind in ("approval", "wait")  # their `timeout` is how long they wait, not how long they work
    timeout = None if parks else step.timeout_seconds
    return {
        "key": step.key,
        "kind": step.kind,
        "config": step.config,
        "refs": step.refs,
        "join": step.join,
        "join_needed": None if step.join == "all" else step.join_needed,
        "parents": step.parents,
        "max_attempts": step.max_attempts or settings().max_attempts,
        "queue": None if step.queue == "default" else step.queue,
        "priority": step.priority or None,
        "timeout": timeout or settings().step_timeout_seconds,
    }


def _result_template(result: Any, steps: list[PlannedStep], edges: list[dict[str, Any]]) -> dict[str, Any]:
    """A job without a result template answers with its last step, where there is one last step."""
    if result is None:
        parents = {edge["parent"] for edge in edges}
        last = [step.key for step in steps if step.key not in parents]
        return {"step": last[0]} if len(last) == 1 else {}
    if (
        isinstance(result, str)
        and result.startswith("${")
        and expressions.is_identifier(result[2:-1])
        and result[2:-1] != "input"
    ):
        return {"step": result[2:-1]}
    return {"expression": result}
