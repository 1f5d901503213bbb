"""From a request to a job: the agent's graph becomes steps and edges, recorded in the submit transaction."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from inspect import signature
from typing import TYPE_CHECKING, Any

from runtime import agents, backlog, batches, chain, code, queues
from runtime.exceptions import AetherisError, IdempotencyConflict, InputInvalid, Overloaded
from runtime.graph import GraphInvalid, TaskGraph, fields, seconds
from runtime.models.base import new_id
from runtime.rows import Rows
from runtime.turn import Turn, TurnAnswer, part
from runtime.values import check, check_text

if TYPE_CHECKING:
    from runtime.models import Job, Step

Refusal = AetherisError | GraphInvalid

AD_HOC = "graph"
"""The agent name of jobs whose graph came with the request."""
SUBJOB, SCHEDULED = "subjob:", "schedule:"
"""What the idempotency keys of jobs begin with that the runtime submits itself."""
YEARS = (1970, 9000)
TENANT_PATTERN = "[a-z0-9][a-z0-9_-]{0,62}"


@dataclass(frozen=True)
class Request:
    """What is to be run: a registered agent's graph, or one that came along."""

    agent: str
    version: str
    graph: TaskGraph
    rows: Rows
    timeout: float | None = None
    """Seconds of work that a job of it may take."""


@dataclass(frozen=True)
class Submission:
    """A request on its way to the gate."""

    turn: Turn
    digest: str
    """Tells one request from another under the same idempotency key."""

    def job(self, answer: TurnAnswer) -> Job:
        """The job that the answer speaks of. Raises `IdempotencyConflict`."""
        from runtime.models import Job  # the models' verbs end here

        if "existing" not in answer:
            return Job.submitted(self.turn.payload["submit"])
        job = Job.objects.get(pk=answer["existing"])
        if answer["request_digest"] != self.digest:
            raise IdempotencyConflict(str(job.idempotency_key), job.pk)
        job.is_repeat = True
        return job


def submit(agent: str | None, input: Any, **wanted: Any) -> Job:
    """See `Job.objects.submit`, and `prepared` for what the runtime itself may want."""
    submission = prepared(agent, input, **wanted)
    return submission.job(submission.turn.commit())


def submit_many(requests: Iterable[Mapping[str, Any]], **wanted: Any) -> list[Job | Refusal]:
    """See `Job.objects.submit_many`."""
    wanted = {"agent": None, "input": None, **wanted}
    complete = [{**wanted, **request} for request in requests]
    shape = signature(prepared)
    for request in complete:
        shape.bind(**request)  # what is no request at all is refused before anything has begun
    begun: dict[int, Job | Refusal] = {}
    # In one order everywhere: of two transactions with the same keys none then waits for the other.
    order = sorted(range(len(complete)), key=lambda place: str(complete[place].get("idempotency_key") or ""))
    for places in batches.growing(order):
        begun |= _begin_together({place: complete[place] for place in places})
    return [begun[place] for place in range(len(complete))]


def _begin_together(requests: Mapping[int, Mapping[str, Any]]) -> dict[int, Job | Refusal]:
    begun: dict[int, Job | Refusal] = {}
    submissions: dict[int, Submission] = {}
    for place, request in requests.items():
        try:
            submissions[place] = prepared(**request)
        except (AetherisError, GraphInvalid) as refusal:
            begun[place] = refusal
    answers = batches.answers([submission.turn for submission in submissions.values()])
    for (place, submission), answer in zip(submissions.items(), answers, strict=True):
        try:
            begun[place] = answer if isinstance(answer, AetherisError) else submission.job(answer)
        except IdempotencyConflict as refusal:
            begun[place] = refusal
    return begun


def prepared(
    agent: str | None,
    input: Any,
    *,
    graph: Any = None,
    idempotency_key: str | None = None,
    tenant: str = "default",
    by: str = "",
    queue: str | None = None,
    priority: int | None = None,
    timeout: Any = None,
    deadline: datetime | None = None,
    parent: Step | None = None,
    depth: int = 0,
    on_parent_end: str = "",
    schedule: str = "",
) -> Submission:
    """A request that is found to be sound; `graph` is a TaskGraph in wire form instead of an agent's name."""
    request = _request(agent, graph)
    if timeout is not None:
        request = replace(request, timeout=_seconds(timeout))
    check(input, "input")
    check_text(idempotency_key, "idempotency_key", 255)
    if parent is None and not schedule and (idempotency_key or "").startswith((SUBJOB, SCHEDULED)):
        raise InputInvalid(
            "idempotency_key", f"keys that begin with {SUBJOB} or {SCHEDULED} are the runtime's own"
        )
    check_columns(tenant, by, queue, priority)
    settings = {"tenant": tenant, "submitted_by": by, **_placed(request.agent, queue, priority)}
    if parent is None and not schedule:
        _check_room(settings["queue"], tenant, idempotency_key)
    columns = {**settings, "idempotency_key": idempotency_key, "deadline": _moment(deadline), "depth": depth}
    told = {"schedule": schedule} if schedule else None
    turn, digest = begin(request, input, columns, parent, on_parent_end, told)
    return Submission(turn, digest)


def _check_room(queue: str, tenant: str, key: str | None) -> None:
    """Raises `Overloaded`, but not for the repetition of a request that was accepted."""
    from runtime.models import Job  # the models' verbs end here

    try:
        backlog.check(queue)
    except Overloaded:
        if key is None or not Job.objects.filter(tenant=tenant, idempotency_key=key).exists():
            raise


def check_columns(tenant: str, by: str, queue: str | None, priority: int | None) -> None:
    if not re.fullmatch(TENANT_PATTERN, tenant):
        raise InputInvalid("tenant", f"must be up to 63 of a-z, 0-9, '-' and '_', not {tenant[:70]!r}")
    check_text(by or None, "by", 200)
    if queue is not None:
        queues.check(queue, "queue")
    if priority is not None and (wrong := fields.PRIORITY.check(priority)):
        raise InputInvalid("priority", wrong)


def _placed(agent: str, queue: str | None, priority: int | None) -> dict[str, Any]:
    """Where the job's steps go whose nodes do not say: as the request says, else as the agent does."""
    own = agents.registered().get(agent)
    if queue is None and own and own.queue:
        queues.check(own.queue, f"queue of agent {agent!r}")
    return {
        "queue": queue or (own.queue if own else None) or "default",
        "priority": priority if priority is not None else (own.priority if own else None) or 0,
        "requires": sorted(own.requires) if own else [],
    }


def begin(
    request: Request,
    input: Any,
    columns: dict[str, Any],
    parent: Step | None = None,
    on_parent_end: str = "",
    told: Mapping[str, str] | None = None,
) -> tuple[Turn, str]:
    """The turn that makes a job and its plan, and the digest that tells one request from another."""
    identity = [request.agent, request.graph.digest if request.agent == AD_HOC else "", input]
    digest = hashlib.sha256(chain.canonical(identity)).hexdigest()
    job_id = new_id()
    began = code.of_graph(request.graph)
    turn = Turn(job_id)
    turn.submit(
        {
            **columns,
            "id": str(job_id),
            "agent": request.agent,
            "agent_version": request.version,
            "graph_digest": request.graph.digest,
            "input": input,
            "result_template": request.rows.result_template,
            "compensate": request.graph.compensate,
            "request_digest": digest,
            "depth": columns.get("depth", 0),
            "parent_step": parent.pk if parent else None,
            "on_parent_end": on_parent_end,
            "timeout": request.timeout,
            "code": began,
        }
    )
    graph = request.graph
    turn.add_steps(request.rows.steps, request.rows.edges, {graph.digest: graph.to_json()})
    facts: dict[str, Any] = {"agent": request.agent, "agent_version": request.version, **(told or {})}
    if began:
        facts["code"] = [f"{name}@{digest}" for name, digest in began.items()]
    if request.timeout is not None:
        facts["timeout_ms"] = int(request.timeout * 1000)
    if deadline := columns.get("deadline"):
        facts["deadline"] = deadline
    if parent is not None:
        facts |= {"parent": str(parent.job_id), "parent_step": parent.key}
    submitter = part("submitter", columns["submitted_by"])
    turn.event("job_submitted", data=facts, parts=[part("input", input), submitter])
    turn.event("plan_recorded", data={"graph_digest": graph.digest, "steps": len(request.rows.steps)})
    return turn, digest


def _request(agent: str | None, graph: Any) -> Request:
    if graph is not None:
        parsed, version = agents.ad_hoc(graph)
        return Request(AD_HOC, version, parsed, Rows.of(parsed))
    found = agents.get(str(agent))
    return Request(found.name, found.version, found.graph, found.rows, found.timeout)


def _seconds(timeout: Any) -> float:
    try:
        return seconds(timeout)
    except ValueError as error:
        raise InputInvalid("timeout", str(error)) from error


def _moment(deadline: datetime | None) -> str | None:
    """Without a zone it is UTC."""
    if deadline is None:
        return None
    known = deadline if deadline.tzinfo else deadline.replace(tzinfo=UTC)
    if not YEARS[0] <= known.year <= YEARS[1]:
        raise InputInvalid("deadline", f"must be within the years {YEARS[0]} to {YEARS[1]}")
    return known.astimezone(UTC).isoformat()
