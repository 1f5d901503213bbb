"""Typed errors. Each builds its own message: what happened, where, and the way out where there is one."""

from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID


class AetherisError(Exception):
    """Base of every error that the runtime raises on purpose."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class StaleAttempt(AetherisError):
    """Somebody else moved the step first: a write of an attempt that no longer holds it was refused."""

    def __init__(self, detail: str) -> None:
        super().__init__(
            f"Refused: {detail}. Another worker, a rescue or a cancel was first; nothing was written."
        )


class JobNotFound(AetherisError):
    def __init__(self, job_id: object) -> None:
        super().__init__(f"There is no job {job_id}. `manage.py jobs` lists the jobs.")


class StepNotFound(AetherisError):
    def __init__(self, step: object) -> None:
        super().__init__(f"There is no step {step}.")


class JobFinished(AetherisError):
    """The job has ended, so the request cannot act on it any more."""

    def __init__(self, job_id: UUID, status: str, asked: str) -> None:
        super().__init__(f"Job {job_id} is {status}: it cannot {asked} any more.")
        self.status = status


class RetryRefused(JobFinished):
    """The job has not failed, so there is nothing to retry; or what it did was undone."""

    def __init__(self, job_id: UUID, status: str) -> None:
        way = (
            "what it had done was undone, so its results are not true any more. Fork it, or submit it anew."
            if status == "compensated"
            else "only a failed job can be retried."
        )
        AetherisError.__init__(self, f"Job {job_id} is {status}: {way}")
        self.status = status


class NotHeld(AetherisError):
    def __init__(self, kind: str, name: str) -> None:
        super().__init__(f"The {kind} {name!r} does not rest. `manage.py monitor` shows what does.")


class BulkNotFound(AetherisError):
    def __init__(self, operation_id: object) -> None:
        super().__init__(f"There is no bulk operation {operation_id}.")


class NotFinished(AetherisError, TimeoutError):
    """Somebody waited for the end of jobs, and not long enough."""

    def __init__(self, job_ids: Collection[UUID], seconds: float) -> None:
        self.job_ids = job_ids
        some = ", ".join(str(job_id) for job_id in list(job_ids)[:3])
        super().__init__(
            f"{len(job_ids)} jobs have not ended within {seconds:g} s: {some}. They go on; wait again."
        )


class AgentNotFound(AetherisError):
    def __init__(self, name: str, known: Sequence[str]) -> None:
        listed = ", ".join(known) or "none is registered"
        super().__init__(
            f"No agent is named {name!r} (known: {listed}). Agents live in agents.py of an installed app."
        )
        self.name = name


class ScheduleNotFound(AetherisError):
    def __init__(self, name: str) -> None:
        super().__init__(f"No schedule is named {name!r}. `manage.py schedules` lists them.")


class ToolNotFound(AetherisError):
    def __init__(self, name: str, known: Sequence[str]) -> None:
        listed = ", ".join(known) or "none is registered"
        super().__init__(
            f"No tool is named {name!r} (known: {listed}). Tools live in tools.py of an installed app."
        )
        self.name = name


class KindNotFound(AetherisError):
    def __init__(self, kind: str) -> None:
        super().__init__(
            f"No node kind is named {kind!r}. Custom kinds live in nodes.py of an installed app, or come with a "
            "package that names them under the entry point group aetheris.nodes."
        )


class KindRefused(AetherisError):
    """What was registered as a node kind is none, or bears the name of another."""


class FunctionNotFound(AetherisError):
    def __init__(self, name: str, known: Sequence[str]) -> None:
        listed = ", ".join(known) or "none is registered"
        super().__init__(
            f"No step function is named {name!r} (known: {listed}). Mark it with @step in agents.py."
        )


class InputInvalid(AetherisError):
    """A value from outside was refused. `path` names the place, such as `input.items[3].name`."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


class IdempotencyConflict(AetherisError):
    """The same idempotency key came with another request."""

    def __init__(self, key: str, job_id: object) -> None:
        super().__init__(
            f"Idempotency key {key!r} belongs to job {job_id}, which was submitted with another agent or input. "
            "Use a new key for a new request."
        )
        self.job_id = job_id


class Overloaded(AetherisError):
    """The queue of a new job holds more than it should. Nothing of the job was kept; what was accepted goes on."""

    retry_after = 5.0
    """Seconds."""

    def __init__(self, queue: str, most: int) -> None:
        super().__init__(
            f"Queue {queue!r} holds more than {most} ready steps, so the job was not accepted. Submit it again later, "
            "give the queue more workers, or raise AETHERIS['MAX_READY_STEPS']."
        )
        self.queue = queue


class Permanent(AetherisError):
    """Raised by a step or tool: trying again cannot help, so the step fails at once."""


class FingerprintMismatch(Permanent):
    """One call, two sets of arguments: the step is not deterministic."""

    def __init__(self, step: str, call: str) -> None:
        super().__init__(
            f"Step {step!r} repeats call {call!r} with other arguments than those recorded. "
            "A retried step must make the same calls: take changing values from the context."
        )


class TooManySteps(Permanent):
    """What a step wanted to add would make its job larger than a job may be."""

    def __init__(self, steps: str, most: int) -> None:
        super().__init__(
            f"The job would have {steps} steps; the limit is {most}. Do less at a time, in jobs of their own, or "
            "raise AETHERIS['MAX_NODES']."
        )


class TooDeep(Permanent):
    """A job below too many jobs, which is how an agent looks that calls itself."""

    def __init__(self, step: str, agent: str, most: int) -> None:
        super().__init__(
            f"Step {step!r} would begin {agent!r} below more than {most} jobs. If the agents are not meant to call "
            "each other in a ring, raise AETHERIS['MAX_SUBJOB_DEPTH']."
        )


class CallAbandoned(Permanent):
    """A person closed the call without knowing whether it happened."""

    def __init__(self, step: str, call: str) -> None:
        super().__init__(f"Call {call!r} of step {step!r} was abandoned by a person.")


class CallRefused(AetherisError):
    """The outside answered that nothing was done, or nothing was sent."""

    def __init__(self, tool: str, error: dict[str, Any]) -> None:
        super().__init__(f"Tool {tool!r} was refused: {error.get('message', '')}")
        self.error = error


class CallDenied(Permanent):
    """A policy, or a person who was asked, does not let the step make a call. Nothing was sent."""

    def __init__(self, step: str, callee: str, by: str, why: str = "") -> None:
        reason = f": {why}" if why else ""
        super().__init__(f"Step {step!r} may not call {callee!r}, says {by}{reason}.")
        self.by = by


class ConsentNeeded(AetherisError):
    """A person must allow the call first. The step parks, and runs again with the answer."""

    def __init__(self, step: str, callee: str) -> None:
        super().__init__(f"Step {step!r} may call {callee!r} once somebody approves it.")


class OverLimit(AetherisError):
    """A rate or a limit of calls at once has no place now. Nothing was sent; the step runs again by itself."""

    def __init__(self, callee: str, retry_in: float) -> None:
        super().__init__(f"{callee!r} is called as often as it may be; again in {retry_in:.1f} s.")


class CallInDoubt(AetherisError):
    """It cannot be told whether a call happened; a person decides, or the tool's verify hook."""

    def __init__(self, step: str, call: str, reason: str, *, retry_in: float | None = None) -> None:
        super().__init__(
            f"Whether call {call!r} of step {step!r} happened is not known ({reason}). "
            "Resolve it with `manage.py resolve`, on the job's page or through the API."
        )
        self.call = call
        self.reason = reason
        self.retry_in = retry_in
        """Seconds after which the tool's own declaration may settle it; None when only a person can."""


class CallPending(AetherisError):
    """The outside works on a call and says later how it ended: the step waits, and runs again then."""

    def __init__(self, step: str, call: str, ask_after: timedelta) -> None:
        super().__init__(
            f"Call {call!r} of step {step!r} is being worked on outside. The step waits for it and runs again; "
            "let this pass."
        )
        self.call = call
        self.ask_after = ask_after


class ProviderNotFound(AetherisError):
    def __init__(self, name: str) -> None:
        super().__init__(
            f"No provider of webhooks is named {name!r}. Declare it in tools.py of an installed app, with "
            "`@webhooks.provider`."
        )


class WebhookRefused(AetherisError):
    """The request is not from the provider, or too old. Nothing of it is kept."""

    def __init__(self, provider: str, reason: str) -> None:
        super().__init__(f"This webhook of {provider!r} was refused: {reason}.")


class CallbackUnknown(AetherisError):
    """The token is not one of ours, or its call is gone."""

    def __init__(self) -> None:
        super().__init__("This callback address leads nowhere. Use it as it was given, and whole.")


class ApprovalRefused(AetherisError):
    """The user may not decide this approval, or it is decided already."""


class ApprovalInvalid(AetherisError):
    """The answer does not fit the approval's schema; the wait stays open."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


class LeaseUnavailable(AetherisError):
    """Redis cannot be asked. The lease only saves work, so callers go on without it."""


class BlobMissing(AetherisError):
    """Internal: a turn names a large value as stored that is not there, and must bring it along."""


class ResultNeeded(AetherisError):
    """Internal: the job ends with this turn and its result expression must be evaluated first."""
