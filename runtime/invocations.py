"""A tool or model call through the ledger: the intent is durable before the first byte leaves.

The promise: a call that is not declared safe to repeat is sent at most once. What a call ended in is
written as *committed*, *refused* (provably no effect) or *unknown*; an unknown is settled by the tool's own
declaration or by a person, never by a guess. See docs/design/effects.md.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from runtime import blobs, consent, limits, settlements
from runtime.answers import FAILED_OUTSIDE
from runtime.conf import settings
from runtime.exceptions import (
    CallAbandoned,
    CallDenied,
    CallInDoubt,
    CallRefused,
    ConsentNeeded,
    FingerprintMismatch,
    OverLimit,
    StaleAttempt,
)
from runtime.failures import describe, text
from runtime.grants import ALLOW, APPROVAL, DENY
from runtime.intents import Intent
from runtime.limits import Place
from runtime.outages import wait_out
from runtime.outcomes import Later
from runtime.outstanding import Outstanding
from runtime.ports import CrashPoint, crash_point
from runtime.settlements import Settlement
from runtime.states import EntryState
from runtime.turn import Turn, part
from runtime.values import check
from tools import Absent, Failed, Happened, Pending, ToolArgumentsInvalid, ToolError, Verdict

if TYPE_CHECKING:
    from runtime.context import Context

JSON = Any


class Overtaken(StaleAttempt):
    """Somebody else settled the call, or moved its step, before this attempt could say how it ended."""


class Invocation:
    """The life of one call within one attempt of its step."""

    def __init__(self, context: Context, intent: Intent, answer: dict[str, Any] | None = None) -> None:
        self.context = context
        self.intent = intent
        self._answer = answer
        """What the ledger said, where the intent rode in the commit that claimed the step."""
        self._repeats_unknown = False
        self._begun = intent.made
        self._place: Place | None = None

    def result(self) -> JSON:
        """The recorded result, or that of a call made now, if it may be.

        Raises `CallRefused` when nothing happened, `CallInDoubt` when that cannot be told, `CallPending` when the
        outside still works on it, `FingerprintMismatch` when the step repeats a call with other arguments,
        `StaleAttempt` when the step is no longer ours, `CallDenied` and `ConsentNeeded` where a policy or a person
        has a word to say, `OverLimit` before its turn.
        """
        try:
            return self._result()
        finally:
            if self._place is not None:
                limits.leave(self._place, self._who)

    def _result(self) -> JSON:
        if self.intent.grant.decision == DENY and not self._is_recorded():
            self._deny()
        if self.intent.grant.decision == ALLOW and self._answer is None and not self._is_known():
            self._enter()
        try:
            answer = self._answer or self._intend()
            return self._begin() if answer["inserted"] else self._taken_up(answer["entry"])
        except Overtaken:
            # A webhook may be faster than the call's own answer: what is recorded counts.
            return self._taken_up(self._intend()["entry"])

    def _begin(self) -> JSON:
        return self._ask() if self.intent.grant.decision == APPROVAL else self._send()

    def _taken_up(self, recorded: dict[str, Any]) -> JSON:
        if recorded["fingerprint"] != self.intent.fingerprint:
            raise FingerprintMismatch(self.intent.step_key, self.intent.call)
        return self._resume(recorded)

    def _intend(self) -> dict[str, Any]:
        crash_point(CrashPoint.BEFORE_INTENT)
        turn = Turn(self.context.step.job_id, worker=self.context.step.worker_id)
        self.context.narrative.ride(turn)
        turn.intend(self.intent.as_operation(self.context.step.attempt))
        return turn.commit()["answers"][0]  # type: ignore[no-any-return]

    def _resume(self, recorded: dict[str, Any]) -> JSON:
        match EntryState(recorded["state"]):
            case EntryState.COMMITTED | EntryState.COMPENSATED:
                return self._recorded(recorded["result"])
            case EntryState.RESERVED:
                return self._as_decided()
            case EntryState.CANCELLED if refusal := consent.standing_refusal(self.context.step, self.intent):
                raise self._rejected(refusal)
            case EntryState.REFUSED:
                self._start_again(EntryState.REFUSED)
                return self._send()
            case EntryState.STARTED if recorded["attempt"] == self.context.step.attempt:
                raise StaleAttempt(
                    f"call {self.intent.call} of step {self.intent.step_key} is being made already"
                )
            case EntryState.STARTED:
                reason = f"attempt {recorded['attempt']} was lost during the call"
                self.settle_now(partial(settlements.unknown, self.intent, recorded["attempt"], reason))
                return self.out_of_doubt(reason, recorded)
            case EntryState.UNKNOWN:
                reason = (recorded["error"] or {}).get("message", "the outcome was lost")
                return self.out_of_doubt(reason, recorded)
            case EntryState.ACCEPTED:
                return Outstanding(self).ask(recorded)
            case EntryState.FAILED if self._fails_now(recorded):
                raise CallRefused(self.intent.callee.name, recorded["error"])
            case EntryState.ABANDONED:
                raise CallAbandoned(self.intent.step_key, self.intent.call)
            case _:
                return self._next_generation().result()

    def _recorded(self, result: JSON) -> JSON:
        return wait_out(lambda: blobs.whole(self.context.step.tenant, blobs.mark(result)))

    def _fails_now(self, recorded: dict[str, Any]) -> bool:
        """Whether the step has yet to hear that the call failed outside; after that it may be made anew."""
        error, told = recorded["error"] or {}, self.context.step.error or {}
        is_told = (told.get("call"), told.get("generation")) == (self.intent.call, self.intent.generation)
        return error.get("type") == FAILED_OUTSIDE and not is_told and not recorded["followed"]

    def _next_generation(self) -> Invocation:
        """The same call under a new key, where the old one is spent."""
        following = Intent.make(
            self.context.step.tenant,
            self.context.step.job_id,
            self.intent.step_id,
            self.intent.step_key,
            self.intent.call,
            self.intent.callee,
            self.intent.arguments,
            self.intent.generation + 1,
        )
        return Invocation(self.context, replace(following, grant=self.intent.grant))

    @property
    def _who(self) -> str:
        return f"{self.context.step.pk}:{self.intent.name}"

    def _is_known(self) -> bool:
        """Whether it has an entry: what is recorded needs no place, what is to be sent again takes it then."""
        if self.intent.callee.place is None or self.context.step.attempt == 1:
            return False
        same = self.context.step.ledger.filter(call=self.intent.call, generation=self.intent.generation)
        return wait_out(same.exists)

    def _enter(self) -> None:
        """Take a place among the calls of the tool or model, if it has a limit. Nothing has been intended yet."""
        place = self.intent.callee.place
        if place is None or self._place is not None:
            return
        if seconds := limits.enter(place, self._who):
            error = OverLimit(self.intent.callee.name, seconds)
            self.context.held.append(Later(f"limit of {place.name}", timedelta(seconds=seconds)))
            raise error
        self._place = place

    def _is_recorded(self) -> bool:
        """Whether the call was made when it was still granted: its result is no call."""
        done = (EntryState.ACCEPTED, EntryState.COMMITTED, EntryState.COMPENSATED)
        return wait_out(self.context.step.ledger.filter(call=self.intent.call, state__in=done).exists)

    def _deny(self) -> NoReturn:
        step, callee, by = self.context.step, self.intent.callee, self.intent.grant.by
        with step.turn(worker=step.worker_id) as turn:
            data = {"call": self.intent.call, "name": callee.name, "grant": by}
            turn.event("tool_denied", step=step.key, attempt=step.attempt, data=data, call=self.intent.name)
        raise CallDenied(step.key, callee.name, by)

    def _ask(self) -> NoReturn:
        self.context.held.append(consent.question(self.context.step, self.intent))
        raise ConsentNeeded(self.intent.step_key, self.intent.callee.name)

    def _as_decided(self) -> JSON:
        """Of a call that was reserved: it is made if it may be by now."""
        decision = consent.decision(self.context.step, self.intent)
        if decision is None and self.intent.grant.decision == APPROVAL:
            self._ask()
        if decision is not None and not decision.approved:
            self.settle_now(partial(settlements.cancelled, self.intent, decision))
            raise self._rejected(decision)
        self._start_again(EntryState.RESERVED, {"approved_by": decision.by} if decision else {})
        return self._send()

    def _rejected(self, decision: consent.Decision) -> CallDenied:
        return CallDenied(self.intent.step_key, self.intent.callee.name, decision.by, decision.comment)

    def out_of_doubt(self, reason: str, recorded: dict[str, Any], *, is_asked: bool = False) -> JSON:
        """What the tool declares decides; without a declaration a person does.

        `is_asked`: its poll has just been asked in vain.
        """
        callee = self.intent.callee
        age, sent = timedelta(seconds=recorded["age"]), timedelta(seconds=recorded["sent_age"] or 0)
        send_window = timedelta(seconds=callee.policy.timeout)
        may_poll = callee.has_poll and recorded["external_id"] and not is_asked
        match self._verdict(reason, recorded["external_id"] if may_poll else ""):
            case Happened(result):
                self.settle_now(partial(settlements.reconciled, self.intent, result))
                return result
            case Failed() as failed:
                Outstanding(self).fail(failed, EntryState.UNKNOWN)
            case Pending() as pending if recorded["answer_in"] is None or recorded["answer_in"] > 0:
                Outstanding(self).accept_from_doubt(pending, recorded["answer_in"])
            case Pending():
                raise self._doubt(reason)
            case Absent(fencing=True):
                # The outside refuses this key from now on, from us as well as from a lost caller.
                self.settle_now(partial(settlements.fenced_off, self.intent, recorded["attempt"]))
                return self._next_generation().result()
            case Absent() if sent > send_window:
                # Without a fence the request of a lost caller might still arrive, until its time to send is over.
                self.settle_now(partial(settlements.absent, self.intent, recorded["attempt"]))
                self._start_again(EntryState.REFUSED)
                return self._send()
            case Absent():
                raise self._doubt(reason, retry_in=(send_window - sent).total_seconds() + 1)
        # What the outside accepted once it would only accept again.
        if callee.policy.may_repeat(age) and recorded["answer_in"] is None:
            self._start_again(EntryState.UNKNOWN)
            return self._send()
        raise self._doubt(reason)

    def ascertain(self, reason: str, sent: timedelta, external_id: str) -> None:
        """Settle a doubt by what the outside says, and never by another call. Raises `CallInDoubt` if it cannot."""
        callee = self.intent.callee
        send_window = timedelta(seconds=callee.policy.timeout)
        match self._verdict(reason, external_id if callee.has_poll else ""):
            case Happened(result):
                self.settle_now(partial(settlements.reconciled, self.intent, result))
            case Failed() as failed:
                Outstanding(self).end(failed, EntryState.UNKNOWN)
            case Pending():
                raise self._doubt(reason, retry_in=settings().poll_seconds)
            case Absent(fencing=True):
                self.settle_now(partial(settlements.fenced_off, self.intent, None))
            case Absent() if sent > send_window:
                self.settle_now(partial(settlements.absent, self.intent, None))
            case Absent():
                raise self._doubt(reason, retry_in=(send_window - sent).total_seconds() + 1)
            case _:
                raise self._doubt(reason)

    def _verdict(self, reason: str, external_id: str) -> Verdict:
        """By the outside's own name for the call it is asked by `poll`, else by `verify`."""
        callee, key, arguments = self.intent.callee, self.intent.idempotency_key, self.intent.arguments
        try:
            if external_id:
                return callee.poll(external_id, key, arguments)
            return callee.verdict(key, arguments)
        except Exception as error:
            # The question had no effect: it is asked again later, and after the last attempt a person is.
            asked = "poll" if external_id else "verify"
            raise self._doubt(f"{reason}; {asked} failed: {text(error)}", retry_in=0.0) from error

    def _doubt(self, reason: str, *, retry_in: float | None = None) -> CallInDoubt:
        doubt = CallInDoubt(
            self.intent.step_key, f"{self.intent.call}#{self.intent.generation}", reason, retry_in=retry_in
        )
        self.context.doubts.append(doubt)
        return doubt

    def _send(self) -> JSON:
        crash_point(CrashPoint.AFTER_INTENT)
        callee = self.intent.callee
        deadline = self._begun + callee.policy.timeout
        # Nothing has been sent yet: a call whose time is over, or its step's, is not begun.
        out_of_time = min(self.context.remaining_seconds, deadline - time.monotonic()) <= 0
        if out_of_time or self.context.cancelled:
            self._refused({"type": "NotSent", "message": "cancelled or out of time before the call was sent"})
        self.context.calls_sent += 1
        try:
            result = callee.send(self.context, self.intent.idempotency_key, self.intent.arguments, deadline)
            if not isinstance(result, Pending):
                check(result, f"{callee.name} result")
        except ToolError as refusal:
            told = {**describe(refusal), "permanent": refusal.permanent}
            if refusal.retry_after is not None:
                told["retry_after"] = refusal.retry_after.total_seconds()
            self._refused(told, refusal)
        except ToolArgumentsInvalid as error:  # told by the tool's signature, before its code ran
            self._refused({**describe(error), "permanent": True}, error)
        except Exception as error:
            self._failed(error)
        crash_point(CrashPoint.AFTER_CALL)
        if isinstance(result, Pending):
            Outstanding(self).accept(result)
        self._settle(partial(settlements.committed, self.intent, self.context.step.attempt, result))
        crash_point(CrashPoint.AFTER_SETTLE)
        return result

    def _failed(self, error: Exception) -> NoReturn:
        """An exception says nothing of the outside, unless the call has no effect there."""
        callee, described = self.intent.callee, describe(error)
        if callee.policy.read_only:
            self._refused(described, error)
        reason = f"{described['type']}: {described['message']}"
        self._settle(partial(settlements.unknown, self.intent, self.context.step.attempt, reason))
        may_settle = callee.policy.may_repeat(timedelta(0)) or callee.has_verify
        raise self._doubt(reason, retry_in=0.0 if may_settle else None) from error

    def _refused(self, error: dict[str, Any], cause: Exception | None = None) -> NoReturn:
        if self._repeats_unknown:
            # That this request did nothing says nothing of the one before it.
            reason = f"the call was repeated and refused: {error['message']}"
            self._settle(partial(settlements.unknown, self.intent, self.context.step.attempt, reason))
            retry_in = None if error.get("permanent") else error.get("retry_after", 0.0)
            raise self._doubt(reason, retry_in=retry_in) from cause
        self._settle(partial(settlements.refused, self.intent, self.context.step.attempt, error))
        raise CallRefused(self.intent.callee.name, error) from cause

    def _start_again(self, known: EntryState, told: Mapping[str, Any] | None = None) -> None:
        """The same key, a new attempt: durable before the first byte, as the first time."""
        self._enter()
        self._begun = time.monotonic()
        data = {"idempotency_key": str(self.intent.idempotency_key), "name": self.intent.callee.name}
        data |= told or {}
        turn = Turn(self.context.step.job_id, worker=self.context.step.worker_id)
        turn.settle(
            self.intent.entry,
            EntryState.STARTED,
            self.intent.callee.called_event,
            attempt=None,
            allowed_from=[known],
            new_attempt=self.context.step.attempt,
            fence=True,
            data=data,
            parts=[part(self.intent.callee.arguments_part, self.intent.arguments)],
        )
        turn.commit()
        self._repeats_unknown = known is EntryState.UNKNOWN and not self.intent.callee.policy.read_only

    def _settle(self, settlement: Settlement) -> None:
        """Say how this call ended; where that rides with the step's record, the record may be overtaken instead."""
        try:
            self.context.settle(settlement)
        except StaleAttempt as stale:
            raise Overtaken(f"call {self.intent.call} was settled by somebody else") from stale

    def settle_now(self, settlement: Settlement) -> None:
        """Say it in a turn of its own, which also wakes the step if a later attempt of it waits in doubt by now.

        Raises `Overtaken` where somebody else has settled the call meanwhile.
        """
        try:
            settlements.alone(self.context.step, settlement)
        except StaleAttempt as stale:
            raise Overtaken(f"call {self.intent.call} was settled by somebody else") from stale
