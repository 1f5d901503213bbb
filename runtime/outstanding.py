"""A call that the outside accepted and works on: its step waits, asks now and then, or is told.

Only the submit is a call that is made at most once. What follows are questions: a lost one is asked again, a failed
one later, and after its time it is not known what became of the call.
"""

from __future__ import annotations

import random
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from runtime import answers, policies
from runtime.conf import settings
from runtime.exceptions import CallPending, CallRefused
from runtime.failures import describe, text
from runtime.ports import CrashPoint, crash_point
from runtime.states import EntryState
from runtime.turn import Turn, part
from runtime.values import check
from tools import Failed, Happened, News, Pending

if TYPE_CHECKING:
    from runtime.invocations import Invocation

NO_TIME = timedelta(0)
LONGEST = timedelta(days=3650)


class Outstanding:
    """The part of an invocation that begins when the outside has accepted the call."""

    def __init__(self, invocation: Invocation) -> None:
        self._invocation = invocation
        self._intent = invocation.intent
        self._step = invocation.context.step

    def accept(self, pending: Pending) -> NoReturn:
        """The answer to the submit: the outside took the call."""
        left = _time_for(pending)
        accepted = partial(self._to_accepted, pending, EntryState.STARTED, left)
        self._invocation.settle_now(accepted)
        crash_point(CrashPoint.AFTER_ACCEPT)
        self._wait(self._pause(pending, left))

    def accept_from_doubt(self, pending: Pending, answer_in: float | None) -> NoReturn:
        """The outside was asked, and works on it. `answer_in`: seconds left of the time that it was given before."""
        left = _time_for(pending) if answer_in is None else timedelta(seconds=answer_in)
        self._invocation.settle_now(partial(self._to_accepted, pending, EntryState.UNKNOWN, left))
        self._wait(self._pause(pending, left))

    def ask(self, recorded: dict[str, Any]) -> Any:
        """The result of an accepted call, where it has ended. Raises `CallPending` while the outside works on it."""
        left = timedelta(seconds=recorded["answer_in"])
        if not self._intent.callee.has_poll:
            if left > NO_TIME:
                self._wait(left)
            return self._give_up(recorded, "nothing was heard of it")
        try:
            news = self._poll(recorded["external_id"])
        except Exception as error:
            # A question has no effect, so it is asked again, and only the time that the call has ends this.
            if left <= NO_TIME:
                return self._give_up(recorded, f"the last poll failed: {text(error)}")
            self._ask_again(recorded["poll_errors"] + 1, left, error)
        match news:
            case Happened(result):
                self.end(news, EntryState.ACCEPTED)
                return result
            case Failed():
                self.fail(news, EntryState.ACCEPTED)
            case Pending() if left <= NO_TIME:
                return self._give_up(recorded, "the outside still works on it")
            case Pending():
                if recorded["poll_errors"]:
                    self._invocation.settle_now(partial(self._polled, 0, None))
                self._wait(self._pause(news, left))

    def end(self, ended: answers.Ended, known: EntryState) -> None:
        self._invocation.settle_now(partial(self._to_end, known, ended))

    def fail(self, failed: Failed, known: EntryState) -> NoReturn:
        """It ended outside without the effect."""
        self.end(failed, known)
        raise CallRefused(self._intent.callee.name, answers.error_of(self._intent.entry, failed))

    def _poll(self, external_id: str) -> News:
        callee = self._intent.callee
        news = callee.poll(external_id, self._intent.idempotency_key, self._intent.arguments)
        if not isinstance(news, News):
            raise TypeError(f"poll of {callee.name!r} answered {type(news).__name__}, not one of {News}")
        if isinstance(news, Happened):
            check(news.result, f"{callee.name} result")
        return news

    def _ask_again(self, errors: int, left: timedelta, error: Exception) -> NoReturn:
        self._invocation.settle_now(partial(self._polled, errors, error))
        self._wait(min(left, policies.backoff(errors, {}, random.random())))

    def _pause(self, pending: Pending, left: timedelta) -> timedelta:
        """Until the next question: as the outside says, else as usual, and not later than its time is over."""
        pause = left
        if self._intent.callee.has_poll and pending.poll_after is not None:
            pause = pending.poll_after
        elif self._intent.callee.has_poll and not pending.callback:
            pause = timedelta(seconds=settings().poll_seconds)
        return max(NO_TIME, min(pause, left))

    def _wait(self, ask_after: timedelta) -> NoReturn:
        context = self._invocation.context
        call = f"{self._intent.call}#{self._intent.generation}"
        context.pending = CallPending(self._intent.step_key, call, ask_after)
        raise context.pending

    def _give_up(self, recorded: dict[str, Any], why: str) -> Any:
        """Its time is over. That says nothing of what became of it: `verify` or a person does."""
        reason = f"the outside accepted it and did not end it in time: {why}"
        self._invocation.settle_now(partial(self._to_unknown, reason))
        return self._invocation.out_of_doubt(reason, recorded, is_asked=True)

    # Settlements

    def _to_accepted(self, pending: Pending, known: EntryState, left: timedelta, turn: Turn) -> None:
        # The answer to a submit is welcome however late, and comes from the attempt that made it.
        is_late_truth = known is EntryState.STARTED
        turn.settle(
            self._intent.entry,
            EntryState.ACCEPTED,
            "tool_accepted",
            attempt=self._step.attempt if is_late_truth else None,
            allowed_from=[EntryState.STARTED, EntryState.UNKNOWN] if is_late_truth else [known],
            external_id=pending.external_id or None,
            answer_within=left.total_seconds(),
        )

    def _polled(self, errors: int, error: Exception | None, turn: Turn) -> None:
        turn.settle(
            self._intent.entry,
            EntryState.ACCEPTED,
            "tool_polled",
            attempt=None,
            allowed_from=[EntryState.ACCEPTED],
            data={"errors": errors},
            poll_errors=errors,
            parts=[part("error", describe(error))] if error else [],
        )

    def _to_end(self, known: EntryState, ended: answers.Ended, turn: Turn) -> None:
        answers.settle(turn, self._intent.entry, known, ended, source="poll")

    def _to_unknown(self, reason: str, turn: Turn) -> None:
        turn.settle(
            self._intent.entry,
            EntryState.UNKNOWN,
            "tool_unknown",
            attempt=None,
            allowed_from=[EntryState.ACCEPTED],
            parts=[part("error", {"type": "Unknown", "message": reason})],
        )


def _time_for(pending: Pending) -> timedelta:
    given = pending.timeout
    if given is None:
        given = timedelta(seconds=settings().pending_timeout_seconds)
    return max(NO_TIME, min(given, LONGEST))
