"""The gate, from Python: a `Turn` collects what happens to one job and makes it happen in one call.

`aetheris_turn` (runtime/sql/turn.sql) locks the job, makes the guarded moves, appends the events and answers
what was claimed and released. A turn that lost its connection before the answer came is never guessed at: it
reads the rows again, and is sent again only when they show that it did not happen.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn
from uuid import UUID, uuid4

import structlog
from django.db import DatabaseError, InterfaceError, OperationalError, connection, transaction

from runtime import blobs, chain, dispatch, failures, news, outages, policies, ports, sharing, statements
from runtime.conf import settings
from runtime.exceptions import (
    AetherisError,
    BlobMissing,
    InputInvalid,
    JobFinished,
    JobNotFound,
    ResultNeeded,
    StaleAttempt,
    TooManySteps,
)
from runtime.expressions import ExpressionFailed
from runtime.rows import Rows
from runtime.states import ENTRY_ALLOWED_FROM, STEP_ARROWS, EntryState

if TYPE_CHECKING:
    from runtime.graph import TaskGraph
    from runtime.models import Step
    from runtime.outcomes import Expand, Waiting

logger = structlog.get_logger(__name__)

TurnAnswer = dict[str, Any]
"""What the gate answers: job, seq, status, answers, and where there are any: claimed, entry, taken, released."""


def part(name: str, value: Any) -> chain.Part:
    """A payload part with a fresh salt."""
    return chain.Part(name=name, value=value, salt=chain.salt(ports.token_bytes(16)))


class Turn:
    """One transaction in which one job changes: one call of the SQL function that is the gate.

    Moves are collected and sent together when the block ends. The function locks the job first, which
    orders its events and lets the last of several parents see that the others have finished.
    """

    def __init__(
        self, job_id: UUID | None = None, *, step: int | None = None, worker: UUID | None = None
    ) -> None:
        self.job_id = job_id
        self.worker = worker
        self.answer: TurnAnswer = {}
        self._ops: list[dict[str, Any]] = []
        self._payload: dict[str, Any] = {"log": settings().log_name}
        if step is not None:
            self._payload["step"] = step
        else:
            self._payload["job"] = str(job_id)
        if worker is not None:
            self._payload["worker"] = str(worker)

    def __enter__(self) -> Turn:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.commit()

    # What can happen to a step

    def complete(self, step: Step, result: Any, *, branch: str | None = None) -> None:
        data = {} if branch is None else {"branch": branch}
        self._move(step, "complete", data, [part("output", result)], branch=branch)

    def fail(self, step: Step, error: dict[str, Any], *, verb: str = "fail") -> None:
        told = part("error", failures.recorded(step, error))
        self._move(step, verb, {"failures": step.failures + 1}, [told], failed=1)

    def retry(
        self, step: Step, error: dict[str, Any], *, after: timedelta | None = None, verb: str = "retry"
    ) -> None:
        seconds = after.total_seconds() if after else None
        data = {"failures": step.failures + 1, "after_ms": int((seconds or 0) * 1000)}
        told = part("error", failures.recorded(step, error, after or timedelta()))
        self._move(step, verb, data, [told], failed=1, after=seconds)

    def rescue(self, step: Step, error: dict[str, Any]) -> None:
        if step.is_spent:
            self.fail(step, error)
        else:
            self.retry(step, error, verb="rescue")

    def time_out(self, step: Step, error: dict[str, Any], *, after: timedelta | None = None) -> None:
        if step.is_spent or policies.fails_when_timed_out(step.config):
            self.fail(step, error)
        else:
            self.retry(step, error, after=after, verb="time_out")

    def hand_back(self, step: Step, why: str, *, after: timedelta | None = None) -> None:
        """Back to ready without a failure: the worker drains, or a call must wait for its turn."""
        seconds = after.total_seconds() if after else None
        data = {"handed_back": why, "failures": step.failures}
        if seconds is not None:
            data["after_ms"] = int(seconds * 1000)
        self._move(step, "hand_back", data, after=seconds)

    def park(self, step: Step, waiting: Waiting) -> None:
        timeout = waiting.timeout.total_seconds() if waiting.timeout is not None else None
        wait = {
            "kind": waiting.kind,
            "name": waiting.name,
            "prompt": waiting.prompt,
            "schema": waiting.schema,
            "approvers": waiting.approvers,
            "timeout": timeout,
            "until": waiting.until.isoformat() if waiting.until else None,
        }
        if waiting.for_call:
            wait["for_call"] = waiting.for_call
        data: dict[str, Any] = {"wait": waiting.kind, "name": waiting.name}
        if waiting.until:
            data["until"] = waiting.until.isoformat()
        if timeout is not None:
            data["timeout_ms"] = int(timeout * 1000)
        self._move(step, "park", data, wait=wait)
        if waiting.event:
            parts = [part("prompt", waiting.prompt)] if waiting.prompt else []
            self.event(
                waiting.event, step=step.key, attempt=step.attempt, data={"name": waiting.name}, parts=parts
            )

    def expand(
        self,
        step: Step,
        expand: Expand,
        *,
        policy: Mapping[str, Any] | None = None,
        within: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        """Park the step over copies of a sub-graph, which are recorded with it and never made again.

        `policy` and `within` are as in `Rows.of`.
        """
        graph = expand.graph
        bound = expand.bindings[0].keys()
        rows = Rows.of(
            graph, {name: key for name, key in step.refs.items() if name not in bound}, policy, within
        )
        self.add_steps(rows.steps, rows.edges, {graph.digest: graph.to_json()})
        policy = {"max_parallel": expand.max_parallel, "tolerate": expand.tolerate, "enough": expand.enough}
        self._payload.update(
            owner=step.pk,
            owner_key=step.key,
            indexed=expand.indexed,
            scopes=expand.bindings,
            scope_result=rows.result_template,
            **{**policy, "max_parallel": expand.max_parallel or len(expand.bindings)},
        )
        data = {
            "graph_digest": graph.digest,
            "scopes": len(expand.bindings),
            "indexed": int(expand.indexed),
            **{name: value for name, value in policy.items() if value is not None},
        }
        self.event("plan_recorded", step=step.key, attempt=step.attempt, data=data)
        self._move(
            step, "park", {"wait": "scopes", "name": step.key}, wait={"kind": "scopes", "name": step.key}
        )

    def spawn(
        self,
        step: Step,
        graph: TaskGraph,
        *,
        policy: Mapping[str, Any] | None = None,
        within: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        """Add steps to the job, keyed `step.node`. They may refer to what the spawning step may refer to."""
        rows = Rows.of(graph, step.refs, policy, within)
        self.add_steps(rows.steps, rows.edges, {graph.digest: graph.to_json()})
        self._payload.update(prefix=f"{step.key}.", into_scope=step.scope_id)
        data = {"graph_digest": graph.digest, "steps": len(rows.steps)}
        self.event("plan_recorded", step=step.key, attempt=step.attempt, data=data)

    def resume(
        self,
        step: Step,
        resume: dict[str, Any],
        *,
        waiting_for: str,
        attempt: int | None = None,
        optional: bool = False,
        keep: bool = False,
    ) -> None:
        """Wake a step. One that waited because of a call, in doubt or to be allowed, keeps what had woken it before.

        `attempt` is that which parked it, where a later wait of the same name must not be taken for this one.
        """
        self._move(
            step,
            "resume",
            {"outcome": resume["outcome"]},
            attempt=attempt,
            resume=None if keep or resume["outcome"] == "resolved" else resume,
            waiting_for=waiting_for,
            wait_outcome=resume["outcome"],
            optional=optional,
        )

    # What can happen beside it

    def event(
        self,
        type: str,
        *,
        step: str | None = None,
        attempt: int | None = None,
        data: dict[str, Any] | None = None,
        parts: Sequence[chain.Part] = (),
        call: str | None = None,
    ) -> None:
        self._op("event", type=type, step=step, attempt=attempt, call=call, **facts(data, parts))

    def job(
        self, verb: str, type: str, *, data: dict[str, Any], parts: Sequence[chain.Part] = (), **columns: Any
    ) -> None:
        self._op("job", verb=verb, type=type, **facts(data, parts), **columns)

    def intend(self, intent: dict[str, Any]) -> None:
        self._op("intend", **intent)

    def settle(
        self,
        entry: dict[str, Any],
        to: EntryState,
        type: str,
        *,
        attempt: int | None,
        parts: Sequence[chain.Part] = (),
        allowed_from: Iterable[EntryState] = (),
        data: dict[str, Any] | None = None,
        **columns: Any,
    ) -> None:
        """Move a ledger entry. `attempt` is its starter: the guard of an outcome."""
        data = {"call": entry["call"], "generation": entry["generation"], "entry": to.value, **(data or {})}
        self._op(
            "settle",
            step=entry["step"],
            key=entry["key"],
            call=entry["call"],
            generation=entry["generation"],
            to=to.value,
            type=type,
            attempt=attempt,
            **facts(data, parts),
            **{"from": [state.value for state in allowed_from or ENTRY_ALLOWED_FROM[to]]},
            **columns,
        )

    def effects(self, step: Step, values: list[dict[str, Any]]) -> None:
        names = {value["name"] for value in values}
        data = {
            "effects": [f"{value['name']}#{value['ordinal']}" for value in values],
            "names": sorted(names),
        }
        parts = [part("effects", [value["value"] for value in values])]
        self._op(
            "effects", step=step.pk, key=step.key, attempt=step.attempt, values=values, **facts(data, parts)
        )

    def signal(
        self,
        name: str,
        payload: Any,
        *,
        dedup_id: str,
        type: str = "signal_received",
        sender: str = "",
        key: str | None = None,
        wait: int | None = None,
        data: dict[str, Any] | None = None,
        parts: Sequence[chain.Part] = (),
        causes: Sequence[str] = (),
    ) -> None:
        """Put a signal into the inbox. One for a `wait` is refused unless that is open and not over yet."""
        self._op(
            "signal",
            name=name,
            dedup_id=dedup_id,
            type=type,
            sender=sender,
            key=key,
            wait=wait,
            causes=list(causes),
            **facts({"name": name, **(data or {})}, [part("signal", payload), *parts]),
        )

    def submit(self, job: dict[str, Any]) -> None:
        self._payload["submit"] = job

    def add_steps(
        self, steps: list[dict[str, Any]], edges: list[dict[str, Any]], blobs: dict[str, Any]
    ) -> None:
        self._payload.update(steps=steps, edges=edges, blobs=blobs, most_steps=settings().max_nodes)

    def copy(self, steps: Sequence[Mapping[str, Any]]) -> None:
        """Of a fork: steps (key, status, result, branch) that its origin has done."""
        self._payload["copied"] = steps

    def claim(
        self,
        step: int | None = None,
        *,
        only: bool = False,
        follows: bool = False,
        queues: Iterable[str] = (),
        with_job: bool = False,
        with_results: bool = False,
        intent: dict[str, Any] | None = None,
        others: Iterable[str] = (),
    ) -> None:
        """Claim in the same transaction: `step` if it is ready by then, else, unless `only`, any ready sibling.

        `follows` says that `step` is the one child of the step that this turn ends. `others` are queues: where there
        is nothing to claim, a ready step of another job in one of them is, and the answer has it as `taken`, with its
        job and the results that it refers to. With a step of this job they come when asked for.
        """
        self._payload["claim"] = {
            "step": step,
            "only": only,
            "follows": follows,
            "queues": list(queues),
            "with_job": with_job,
            "with_results": with_results,
            "intent": intent,
            "token": str(uuid4()),
        }
        if others:
            self._payload["claim"]["others"] = list(others)

    # The call

    def commit(self) -> TurnAnswer:
        """Send the turn. Raises `StaleAttempt`, `JobNotFound` or `JobFinished`; then nothing has happened."""
        answer = self.commit_silently()
        tell_after_commit([answer])
        return answer

    def commit_silently(self) -> TurnAnswer:
        """The same for one who has more urgent things to do than to tell others: `tell_after_commit` is left to it."""
        self.sealed()
        try:
            self.answer = self._send()
        except (OperationalError, InterfaceError) as lost:
            self.answer = self.recovered(lost)
        return self.answer

    def sealed(self) -> dict[str, Any]:
        """The whole turn, as the gate takes it."""
        self._payload["ops"] = self._ops
        return self._payload

    def _send(self) -> TurnAnswer:
        try:
            return self._call()
        except ResultNeeded:
            self._payload.update(self._evaluate_result())
        except BlobMissing:
            blobs.send_again()
        return self._send()

    def _call(self) -> TurnAnswer:
        text = json.dumps(self._payload, separators=(",", ":"), ensure_ascii=False)
        if not blobs.may_be_large(text):
            return self._ask(text)
        light = blobs.kept_apart(self._payload)
        answer = self._ask(json.dumps(light, separators=(",", ":"), ensure_ascii=False))
        blobs.were_sent(light)
        return answer

    def _ask(self, text: str) -> TurnAnswer:
        try:
            if sharing.is_on() and not connection.in_atomic_block and "submit" not in self._payload:
                return sharing.ask(text, self._payload.get("job"))
            # Inside a caller's transaction a refused turn must not spoil the rest of it.
            with transaction.atomic() if connection.in_atomic_block else nullcontext():
                # Django leaves jsonb to whoever knows the encoder: here it is plain JSON.
                return json.loads(statements.ask("SELECT aetheris_turn($1::jsonb)", text))  # type: ignore[no-any-return]
        except (OperationalError, InterfaceError):
            raise
        except DatabaseError as error:
            self._explain(error)

    def _explain(self, error: DatabaseError) -> NoReturn:
        cause = error.__cause__
        message = str(error).split("\n", 1)[0]
        match getattr(cause, "sqlstate", None):
            case "AE001":
                raise StaleAttempt(message) from error
            case "AE002":
                raise JobNotFound(self.job_id) from error
            case "AE003":
                raise JobFinished(self.job_id, message.removeprefix("job is "), "change") from error  # type: ignore[arg-type]
            case "AE004":
                raise ResultNeeded(message) from error
            case "AE010":
                raise TooManySteps(message, settings().max_nodes) from error
            case "AE005":
                raise AetherisError(
                    f"{message}. Settle it first: `manage.py doctor` shows the entry."
                ) from error
            case "AE011":
                raise BlobMissing(message) from error
            case _:
                raise error

    def recovered(self, lost: Exception) -> TurnAnswer:
        """Find out whether the turn happened; send it again only if it did not."""
        from runtime import recall  # reads rows through the models

        try:
            return outages.wait_out(lambda: recall.answer_of(self) or self._send(), lost)
        except StaleAttempt:
            # Perhaps by this very turn: the server was still at it, without a client, when the rows were looked at.
            if (answer := outages.wait_out(lambda: recall.answer_of(self))) is None:
                raise
            return answer

    def _evaluate_result(self) -> dict[str, Any]:
        from runtime.results import evaluate_job_result  # reads rows through the models

        fresh = {
            op["key"]: op["parts"]["output"]["value"]
            for op in self._ops
            if op["op"] == "move" and op["to"] == "completed"
        }
        try:
            value = evaluate_job_result(self._payload, fresh)
        except (ExpressionFailed, InputInvalid) as error:
            return {"result_error": {"type": "ResultFailed", "message": str(error)}}
        return {"result": facts(None, [part("output", value)])}

    def _move(
        self,
        step: Step,
        verb: str,
        data: dict[str, Any],
        parts: Sequence[chain.Part] = (),
        *,
        attempt: int | None = -1,
        **columns: Any,
    ) -> None:
        arrow = STEP_ARROWS[verb]
        self._op(
            "move",
            step=step.pk,
            key=step.key,
            attempt=step.attempt if attempt == -1 else attempt,
            to=arrow.to.value,
            type=arrow.event,
            **facts(data, parts),
            **{"from": [s.value for s in arrow.allowed_from]},
            **columns,
        )

    def _op(self, op: str, **values: Any) -> None:
        self._ops.append({"op": op, **{name: value for name, value in values.items() if value is not None}})

    # For `recall`, which reads what a lost turn was about

    @property
    def ops(self) -> list[dict[str, Any]]:
        return self._ops

    @property
    def payload(self) -> dict[str, Any]:
        return self._payload


def tell_after_commit(answers: Sequence[TurnAnswer]) -> None:
    """Tell of what turns brought about: workers of what is ready, who waits for a job and its parent of its end."""
    released: list[tuple[int, str]] = []
    for answer in answers:
        if answer.get("is_subjob"):
            from runtime import subjobs  # reports through the models

            subjobs.report_after_commit(UUID(answer["job"]))
        if answer.get("ended"):
            news.tell_after_commit(answer["job"])
        released += answer.get("released") or ()
    if released:
        dispatch.hint_after_commit(released)


def facts(data: dict[str, Any] | None, parts: Sequence[chain.Part]) -> dict[str, Any]:
    """`data` and commitments as the text that goes into the header, and the parts as rows."""
    told: dict[str, Any] = {}
    if data:
        told["data"] = chain.header_bytes(data).decode()
    if parts:
        told["sd"] = ",".join(f'"{c}"' for c in sorted(part.commitment() for part in parts))
        told["parts"] = {part.name: {"salt": part.salt, "value": part.value} for part in parts}
    return told
