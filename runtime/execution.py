"""Running steps: claim, perform, record, and go on with what follows. A plain function, knows nothing of Celery.

No transaction is open while a step's code runs. Recording is not the step: a database error while recording
is answered by reading again and recording the same outcome, never by running the code again.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import structlog
from django.db import DataError, IntegrityError

from runtime import agents, blobs, code, compensations, endings, grants, nodes, policies, settlements
from runtime.conf import settings
from runtime.context import Context
from runtime.exceptions import (
    AetherisError,
    CallInDoubt,
    CallPending,
    CallRefused,
    FingerprintMismatch,
    InputInvalid,
    Permanent,
    StaleAttempt,
)
from runtime.expressions import ExpressionFailed, ExpressionInvalid
from runtime.failures import describe, with_traceback
from runtime.graph import GraphInvalid, TaskGraph
from runtime.graph.durations import LONGEST
from runtime.intents import Intent
from runtime.memory import Results
from runtime.models import Job, Step
from runtime.models.step import claim
from runtime.outages import wait_out
from runtime.outcomes import CancelJob, Completed, Expand, Failed, Later, Outcome, Retry, Waiting
from runtime.ports import Crashed, CrashPoint, crash_point
from runtime.states import StepStatus
from runtime.turn import Turn, TurnAnswer, tell_after_commit
from tools import ToolArgumentsInvalid

if TYPE_CHECKING:
    from runtime.incarnation import Incarnation

logger = structlog.get_logger(__name__)

PERMANENT = (
    Permanent,
    ExpressionFailed,
    ExpressionInvalid,
    GraphInvalid,
    InputInvalid,
    ToolArgumentsInvalid,
    FingerprintMismatch,
)


@dataclass
class Run:
    """A job in the hands of one worker: the claimed step, and what is known of the steps before it."""

    job: Job
    step: Step
    following: dict[str, Any] | None
    results: Results
    bindings: dict[str, Any] = field(default_factory=dict)
    ridden: tuple[Intent, dict[str, Any]] | None = None
    intent: Intent | None = field(default=None)
    """The call that the next claim will carry, if it claims the step that it was made for."""

    @classmethod
    def begin(cls, answer: TurnAnswer) -> Run:
        claimed = answer["claimed"]
        job = Job(**{**claimed["job"], "input": blobs.mark(claimed["job"]["input"])})
        bindings = claimed.get("bindings", {})
        return cls(
            job, Step.claimed(claimed, job), claimed["next"], Results(job, claimed["results"]), bindings
        )

    def go_on(self, answer: TurnAnswer) -> Run | None:
        claimed = answer.get("claimed")
        if claimed is None:
            return Run.begin(answer["taken"]) if answer.get("taken") else None
        ridden = (self.intent, answer["entry"]) if self.intent and answer.get("entry") else None
        self.results.take(claimed.get("results", {}))
        bindings = claimed.get("bindings", {})
        return Run(self.job, Step.claimed(claimed, self.job), claimed["next"], self.results, bindings, ridden)

    def names(self, refs: dict[str, str]) -> dict[str, Any]:
        """`input`, the scope's bindings, and the results that `refs` name, read where they are not at hand."""
        read = self.results.of(set(refs.values()))
        results = {name: read.get(key) for name, key in refs.items()}
        return {"input": wait_out(lambda: self.job.input), **self.bindings, **results}

    def is_ours(self) -> bool:
        """Whether the step is still in the hands of this attempt."""
        mine = Step.objects.filter(pk=self.step.pk, status=StepStatus.RUNNING, attempt=self.step.attempt)
        return wait_out(lambda: mine.all().exists())


def run_step(step_id: int, worker: Incarnation) -> int:
    """Claim a step, run it, and go on with the job, then with others, while that is fair. The number of steps run."""
    crash_point(CrashPoint.BEFORE_CLAIM)
    claimed = claim(step_id, worker.id, others=worker.others)
    if claimed is None:
        return 0
    run: Run | None = Run.begin(claimed)
    answer: TurnAnswer | None = None
    give_back = time.monotonic() + settings().keep_job_seconds
    count = 0
    while run is not None:
        crash_point(CrashPoint.AFTER_CLAIM)
        try:
            with worker.holding(run.step) as told_to_cancel:
                # A slow Redis takes its time for this: longer than a lease, if the step were not held by now.
                _tell(answer)
                answer = None
                context, outcome = perform(run, told_to_cancel)
                crash_point(CrashPoint.BEFORE_RECORD)
                go_on = time.monotonic() < give_back and not worker.draining
                try:
                    answer = record(run, context, outcome, worker, go_on=go_on)
                except StaleAttempt:
                    if not (context.unsettled and run.is_ours()):
                        raise
                    # The outside told sooner than the call's own answer was recorded: the ledger has the result.
                    run.ridden = None
                    answer = record(run, *perform(run, told_to_cancel), worker, go_on=go_on)
        except StaleAttempt as stale:
            logger.warning(
                "stale_attempt",
                job=str(run.job.id),
                step=run.step.key,
                attempt=run.step.attempt,
                detail=str(stale),
            )
            return count
        crash_point(CrashPoint.AFTER_RECORD)
        count += 1
        run = run.go_on(answer)
    _tell(answer)
    return count


def _tell(answer: TurnAnswer | None) -> None:
    if answer is not None:
        tell_after_commit([answer])


def perform(run: Run, bind: Callable[[Context], None]) -> tuple[Context, Outcome]:
    """Run the step's node. Every ending is a value; only a lost claim is an exception."""
    step = run.step
    # A step of the same name is nearer than what the scope binds.
    bindings = {name: value for name, value in run.bindings.items() if name not in step.refs}
    context = Context(step, {}, ridden=run.ridden, bindings=bindings)
    bind(context)
    if (wait := code.held(run.job, step, context)) is not None:
        return context, wait
    try:
        node = nodes.get(step.kind)
        context.settle_at_once = not node.settles_with_record
        context.names = run.names(step.refs)
        outcome = _judged(endings.checked(node.run(step, context), step, context), step)
    except (StaleAttempt, Crashed):
        raise
    except BaseException as error:  # of whatever kind, SystemExit included: it ends the step, not the worker
        outcome = sound(outcome_of(error, step), step, context)
    if context.held:
        outcome = context.held[0]
    if context.doubts and not (isinstance(outcome, Waiting) and outcome.kind == "unknown"):
        outcome = _in_doubt(context.doubts[0], step)
    elif context.pending and not (isinstance(outcome, Waiting) and outcome.kind == "call"):
        outcome = outcome_of(context.pending, step)
    return context, outcome


def outcome_of(error: BaseException, step: Step) -> Outcome:
    """What an exception means for its step."""
    match error:
        case CallInDoubt():
            return _in_doubt(error, step)
        case CallPending(call=call, ask_after=after):
            return Waiting(kind="call", name=call, timeout=after)
        case CallRefused(error=refusal):
            if refusal.get("permanent"):
                return Failed(refusal)
            return _judged(Retry(refusal, _pause(refusal.get("retry_after"))), step, error.__cause__ or error)
        case _ if isinstance(error, PERMANENT):
            return Failed(with_traceback(error))
        case _:
            return _judged(Retry(with_traceback(error)), step, error)


def _judged(outcome: Outcome, step: Step, error: BaseException | None = None) -> Outcome:
    """What might pass by itself, unless the step's policy says that errors of this type do not."""
    if not isinstance(outcome, Retry) or not (retry := step.config.get("retry")):
        return outcome
    names = policies.type_names([error]) if error is not None else {str(outcome.error.get("type"))}
    return Failed(outcome.error) if policies.is_permanent(names, retry) else outcome


def _pause(seconds: object) -> timedelta | None:
    """As long as a refusal asks for, where it makes sense."""
    try:
        return timedelta(seconds=min(max(float(seconds), 0.0), LONGEST))  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None


def sound(outcome: Outcome, step: Step, context: Context) -> Outcome:
    """An error that somebody made up may hold what no row can."""
    if isinstance(outcome, Waiting):
        return outcome
    try:
        return endings.checked(outcome, step, context)
    except PERMANENT as error:
        return Failed(describe(error))


def _in_doubt(doubt: CallInDoubt, step: Step) -> Outcome:
    """The tool's declaration gets its chances; after them, or without one, a person decides."""
    if doubt.retry_in is None or step.is_spent:
        return Waiting(kind="unknown", name=doubt.call, prompt=doubt.reason)
    error = {"type": "CallInDoubt", "message": doubt.reason}
    return Retry(error, timedelta(seconds=doubt.retry_in) if doubt.retry_in else None)


def record(run: Run, context: Context, outcome: Outcome, worker: Incarnation, *, go_on: bool) -> TurnAnswer:
    """Write the outcome, and in the same transaction claim what follows. Nobody is told of it yet."""
    turn = Turn(run.step.job_id, worker=worker.id)
    context.narrative.ride(turn)
    if context.fresh_effects:
        turn.effects(run.step, context.fresh_effects)
    for settlement in context.unsettled:
        settlement(turn)
    _move(turn, run, outcome)
    if isinstance(outcome, Completed):
        run.results.keep(run.step.key, outcome.result, context.result_bytes)
    if go_on:
        _claim_following(turn, run, outcome, worker)
    try:
        return turn.commit_silently()
    except StaleAttempt:
        _settle_alone(context)
        raise
    except (AetherisError, DataError, IntegrityError) as error:
        if isinstance(outcome, Failed):
            raise
        # The rows refuse what the checks let pass. The step says so, rather than being lost and run again.
        logger.exception("outcome_refused", job=str(run.job.id), step=run.step.key)
        return record(run, context, Failed(describe(error)), worker, go_on=False)


def _move(turn: Turn, run: Run, outcome: Outcome) -> None:
    step = run.step
    match outcome:
        case Completed(result, branch, spawn):
            if isinstance(spawn, TaskGraph):  # `endings` has parsed whatever the step gave
                turn.spawn(step, spawn, policy=agents.policy_of(run.job.agent), within=grants.within(step))
            turn.complete(step, result, branch=branch)
        case Expand():
            turn.expand(step, outcome, policy=agents.policy_of(run.job.agent), within=grants.within(step))
        case Retry(error) if step.is_spent:
            turn.fail(step, error)
        case Retry(error, after):
            turn.retry(step, error, after=after or _backoff(step))
        case Failed(error) if step.kind == compensations.KIND:
            turn.park(step, compensations.for_a_person(step, error))
        case Failed(error):
            turn.fail(step, error)
        case Waiting():
            turn.park(step, outcome)
        case Later(reason, after):
            turn.hand_back(step, reason, after=after)
        case CancelJob(reason):
            turn.job("cancel", "operator_acted", data={"verb": "cancel", "step": step.key, "reason": reason})
            turn.hand_back(step, "job cancelled")


def _claim_following(turn: Turn, run: Run, outcome: Outcome, worker: Incarnation) -> None:
    run.intent = _next_intent(run) if isinstance(outcome, Completed) else None
    wanted = run.following["refs"].values() if run.following else ()
    turn.claim(
        run.following["id"] if run.following else None,
        follows=run.following is not None,
        queues=worker.queues,
        with_results=not run.results.have(wanted),
        intent=run.intent.as_operation() if run.intent else None,
        others=worker.others,
    )


def _backoff(step: Step) -> timedelta:
    return policies.backoff(step.failures + 1, step.config.get("retry", {}), random.random())


def _next_intent(run: Run) -> Intent | None:
    """The call that the next step begins with, so that it is durable with the claim and costs no commit of its own."""
    following = run.following
    if following is None:
        return None
    try:
        node = nodes.get(following["kind"])
        if not node.has_intents or following["scope_id"] != run.step.scope_id:
            return None
        names = run.names(following["refs"])
        intent = node.intent(
            run.job.tenant, run.job.id, following["id"], following["key"], following["config"], names
        )
        return _if_granted(intent, run.job.agent, following["config"]) if intent else None
    except Exception as error:
        # Whatever it is: the step itself will meet it and report it as its own, and this one must be recorded.
        logger.debug("intent_not_prepared", step=following["key"], error=str(error))
        return None


def _if_granted(intent: Intent, agent: str, config: dict[str, Any]) -> Intent | None:
    """A call that is not simply allowed, now, is the business of its own step."""
    if intent.callee.place is not None:
        return None
    grant = grants.decide(intent.callee.kind, intent.callee.name, agents.sources(agent, config))
    return replace(intent, grant=grant) if grant.decision == grants.ALLOW else None


def _settle_alone(context: Context) -> None:
    """The fence refused the decision; the evidence of what was done outside is still welcome."""
    for settlement in context.unsettled:
        try:
            settlements.alone(context.step, settlement)
        except StaleAttempt as stale:
            logger.warning(
                "late_evidence_refused",
                job=str(context.step.job_id),
                step=context.step.key,
                detail=str(stale),
            )
