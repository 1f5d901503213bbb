"""Shared commits: the turns that threads of one worker have ready at one time go to the gate in one call.

A thread that finds nobody sending sends at once; who comes while it does goes with the next call. So nobody waits for
company, a worker that is alone pays nothing, and the more there is to do the fewer commits it takes. One connection
carries them all: plans are made once for a worker, not once for each of its threads.

A turn that is refused takes nothing of the others along. A job that another process is at work on would hold up
everybody: its turns go by a lane of their own, which waits.
"""

from __future__ import annotations

import json
import threading
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import psycopg
from django.db import DEFAULT_DB_ALIAS, InterfaceError, OperationalError, connections

from runtime import statements

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

TOGETHER = 32
"""Turns in one call: each is a subtransaction, and of more than 64 PostgreSQL loses the cheap overview."""

Answer = dict[str, Any]


@dataclass(eq=False)
class Sent:
    """A turn on its way. It is woken when it is answered, or when it is its turn to send."""

    text: str
    job: str | None
    """None where the turn names a step only."""
    answer: Answer | None = None
    error: BaseException | None = None
    woken: threading.Event = field(default_factory=threading.Event)


class Lane:
    """Sends one call at a time. Whoever stands first in the line sends, for as many as may go together."""

    def __init__(self, *, waits: bool) -> None:
        self.waits = waits
        """For jobs that another process is at work on; then turns of one job go together, and of several do not."""
        self._line: deque[Sent] = deque()
        self._busy = False
        self._lock = threading.Lock()
        self._connection: BaseDatabaseWrapper | None = None

    def send(self, turn: Sent) -> Answer:
        """The answer of the gate, which may be `held` or `refused`. Raises Django's database errors."""
        with self._lock:
            self._line.append(turn)
            first, self._busy = not self._busy, True
        if not first:
            turn.woken.wait()
        if turn.answer is None and turn.error is None:
            self._send_line()
        if turn.error is not None:
            raise again(turn.error)
        assert turn.answer is not None
        return turn.answer

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()

    def _send_line(self) -> None:
        turns = self._next()
        try:
            answers = self._ask(turns)
            for turn, answer in zip(turns, answers, strict=True):
                turn.answer = answer
        except BaseException as error:
            for turn in turns:
                turn.error = error
        finally:
            self._pass_on(turns)

    def _next(self) -> list[Sent]:
        with self._lock:
            together = [self._line.popleft()]
            while self._line and len(together) < TOGETHER and self._may_join(self._line[0], together[0]):
                together.append(self._line.popleft())
            return together

    def _may_join(self, turn: Sent, first: Sent) -> bool:
        return not self.waits or (turn.job is not None and turn.job == first.job)

    def _pass_on(self, done: list[Sent]) -> None:
        with self._lock:
            following = self._line[0] if self._line else None
            self._busy = following is not None
        for turn in done:
            turn.woken.set()
        if following is not None:
            following.woken.set()

    def _ask(self, turns: list[Sent]) -> list[Answer]:
        if self._connection is None:
            self._connection = connections.create_connection(DEFAULT_DB_ALIAS)
            self._connection.inc_thread_sharing()
        try:
            if len(turns) == 1:
                answer = statements.ask(
                    "SELECT aetheris_turn($1::jsonb, $2)", turns[0].text, self.waits, via=self._connection
                )
                return [json.loads(answer)]
            texts = ",".join(turn.text for turn in turns)
            answers = statements.ask(
                "SELECT aetheris_turns($1::jsonb, $2)", f"[{texts}]", self.waits, via=self._connection
            )
            return json.loads(answers)  # type: ignore[no-any-return]
        except (OperationalError, InterfaceError):
            self._connection.close()
            raise


_lanes: tuple[Lane, Lane] | None = None


def begin() -> None:
    """From now on the turns of this process share their commits."""
    global _lanes
    _lanes = Lane(waits=False), Lane(waits=True)


def end() -> None:
    """Each thread sends its own turns again."""
    global _lanes
    lanes, _lanes = _lanes or (), None
    for lane in lanes:
        lane.close()


def is_on() -> bool:
    return _lanes is not None


def ask(text: str, job: str | None) -> Answer:
    """What the gate answers to a turn. Raises Django's database errors, as if it had been sent alone."""
    assert _lanes is not None
    quick, patient = _lanes
    answer = quick.send(Sent(text, job))
    if "held" in answer:
        answer = patient.send(Sent(text, job))
    if "refused" in answer:
        raise refusal(answer["refused"], answer["message"])
    return answer


def refusal(state: str, message: str) -> BaseException:
    """Django's error for an SQL state, as its own cursor would raise it."""
    try:
        cause: psycopg.Error = psycopg.errors.lookup(state)(message)
    except KeyError:
        cause = psycopg.DatabaseError(message)
        cause.sqlstate = state
    try:
        with connections[DEFAULT_DB_ALIAS].wrap_database_errors:
            raise cause
    except Exception as error:
        return error


def again(error: BaseException) -> BaseException:
    """The same error for each of several threads: a traceback belongs to one."""
    try:
        copy = type(error)(*error.args)
    except TypeError:
        return error
    copy.__cause__ = error.__cause__
    return copy
