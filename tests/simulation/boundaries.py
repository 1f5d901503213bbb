"""What the runtime meets at its edges, in a simulation: the database's clock, chance, the broker, the leases.

PostgreSQL is the real one, with a clock that the scheduler moves. The broker and the leases are kept in this process,
so that they may lose everything at a moment that a seed decides.
"""

from __future__ import annotations

import os
import random
import re
import signal
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from django.db import connection

from runtime import backlog, blobs, clock, dispatch, hinting, leases, news, planning, ports, statements
from runtime.conf import settings
from runtime.exceptions import LeaseUnavailable
from runtime.sql import statements as sql_of
from tests.simulation.scheduler import Scheduler, acting

BEGINNING = datetime(2030, 1, 1, tzinfo=UTC).timestamp()

CLOCK = """
CREATE SEQUENCE IF NOT EXISTS simulated_clock;
CREATE OR REPLACE FUNCTION aetheris_now() RETURNS timestamptz LANGUAGE sql VOLATILE AS $$
  SELECT to_timestamp(nextval('simulated_clock') / 1e6)
$$
"""
"""One clock for all connections, whatever their transactions: a sequence. Each look at it takes a microsecond."""

TABLE = re.compile(r'(?:FROM|INTO|UPDATE|JOIN)\s+"?aetheris_(\w+)')


class Broker:
    """Messages that may be lost, come twice, or not be taken at all; ids of steps by queue."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.messages: deque[list[int]] = deque()
        self.loses = self.doubles = 0.0
        self.is_away = False
        self.lost = self.doubled = self.refused = 0

    def send_task(self, name: str, args: list[list[int]], **how: Any) -> None:
        if self.is_away:
            self.refused += 1
            raise ConnectionError("simulated: the broker is away")
        if self.chance.random() < self.loses:
            self.lost += 1
            return
        self.messages.append(args[0])
        if self.chance.random() < self.doubles:
            self.doubled += 1
            self.messages.append(args[0])

    def take(self) -> list[int] | None:
        """Any of the messages: nothing is said of their order."""
        if not self.messages:
            return None
        self.messages.rotate(self.chance.randrange(len(self.messages)))
        return self.messages.popleft()

    # What `dispatch` asks of Celery

    class conf:
        broker_write_url = "simulated"

    @contextmanager
    def acquire(self, **how: Any) -> Iterator[None]:
        yield


class Leases:
    """Which (step, attempt) has a lease, and until when."""

    def __init__(self, scheduler: Scheduler, broker: Broker) -> None:
        self.scheduler, self.broker = scheduler, broker
        self.held: dict[int, tuple[UUID, int, float]] = {}

    def extend(self, incarnation: UUID, pairs: Iterable[tuple[int, int]]) -> None:
        self._reach()
        until = self.scheduler.now + settings().lease_seconds
        for step_id, attempt in pairs:
            owner, known, end = self.held.get(step_id, (incarnation, 0, 0.0))
            if owner == incarnation or known < attempt or end < self.scheduler.now:
                self.held[step_id] = (incarnation, attempt, until)

    def release(self, incarnation: UUID, step_id: int, attempt: int) -> None:
        actor = acting()
        if self.held.get(step_id, ())[:2] == (incarnation, attempt) and not (actor and actor.is_dead):
            del self.held[step_id]

    def missing(self, step_ids: Sequence[int]) -> set[int]:
        now = self.scheduler.now
        if self.broker.is_away:
            return set(step_ids)
        return {step_id for step_id in step_ids if self.held.get(step_id, (0, 0, 0.0))[2] <= now}

    def queue_depths(self, queues: Iterable[str], prefix: str = "") -> dict[str, int]:
        self._reach()
        return dict.fromkeys(queues, 0)

    def flush(self) -> None:
        self.held.clear()
        self.broker.messages.clear()

    def _reach(self) -> None:
        if self.broker.is_away:
            raise LeaseUnavailable("simulated: Redis is away")


@contextmanager
def simulated(scheduler: Scheduler, broker: Broker, kept: Leases) -> Iterator[None]:
    """The runtime of this process meets the simulation. What other threads do stays real."""
    chance = random.Random(scheduler.chance.random())
    real_monotonic, real_sleep, real_urandom, ask = time.monotonic, time.sleep, os.urandom, statements.ask

    def monotonic() -> float:
        return scheduler.now if acting() else real_monotonic()

    def sleep(seconds: float) -> None:
        scheduler.sleep(seconds) if acting() else real_sleep(seconds)

    def urandom(size: int) -> bytes:
        return chance.randbytes(size) if acting() else real_urandom(size)

    def kill(pid: int, number: int) -> None:
        """A process that tells itself to end: it drains already, which is all that its signal handler does."""
        assert acting() and pid == os.getpid() and number == signal.SIGTERM

    def now() -> datetime:
        actor = acting()
        skew = getattr(actor.process, "skew", 0.0) if actor else 0.0
        return datetime.fromtimestamp(scheduler.now + skew, UTC)

    def asked(statement: Any, *values: Any, **via: Any) -> Any:
        return scheduler.statement(_turn(*values), lambda: ask(statement, *values, **via))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "monotonic", monotonic)
        patch.setattr(time, "sleep", sleep)
        patch.setattr(os, "urandom", urandom)
        patch.setattr(os, "kill", kill)
        patch.setattr(random, "random", chance.random)
        patch.setattr(random, "choice", chance.choice)
        patch.setattr(ports, "token_bytes", chance.randbytes)
        patch.setattr(clock, "now", now)
        patch.setattr(statements, "ask", asked)
        patch.setattr(planning, "new_id", ids(chance))
        patch.setattr(dispatch, "current_app", broker)
        patch.setattr(dispatch, "_producers", lambda *of: broker)
        patch.setattr(news, "tell", lambda job_id: None)
        patch.setattr(
            hinting, "DUE", hinting.DUE.replace("ready_at) LIMIT", "ready_at), id LIMIT")
        )  # see `IN_ORDER`
        for name in ("extend", "release", "missing", "queue_depths"):
            patch.setattr(leases, name, getattr(kept, name))
        forget()
        yield


def forget() -> None:
    """What a process remembers of the seeds before."""
    for breaker in (dispatch.breaker, leases.breaker):
        breaker.reset()
    dispatch.crowd = dispatch.Crowd()
    backlog.forget()
    blobs.send_again()


def ids(chance: random.Random) -> Callable[[], UUID]:
    """Ids that sort by the order in which they were made, as those of the runtime do."""
    made = iter(range(1, 1 << 32))
    return lambda: UUID(int=(next(made) << 96) | (7 << 76) | (2 << 62) | chance.getrandbits(60))


def stop_at_statements(scheduler: Callable[[], Scheduler | None]) -> None:
    """Every statement of this thread's connection, from now on, is a place of the simulation that is under way."""

    def wrapper(execute: Any, sql: str, parameters: Any, many: bool, context: Any) -> Any:
        now = scheduler()
        if now is None:
            return execute(sql, parameters, many, context)
        return now.statement(_named(sql), lambda: execute(sql, parameters, many, context))

    connection.execute_wrappers.append(wrapper)


@contextmanager
def simulated_clock() -> Iterator[None]:
    """The database of this connection goes by the scheduler's clock."""
    real = next(sql for sql in sql_of("turn.sql") if "FUNCTION aetheris_now()" in sql)
    with connection.cursor() as cursor:
        cursor.execute(CLOCK)
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute(real)
            cursor.execute("DROP SEQUENCE simulated_clock")


def set_clock(now: float, *, back: bool = False) -> None:
    """Move the database's clock. It has run a few microseconds ahead, and does not go `back` within a seed."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT setval('simulated_clock', greatest(%s, CASE WHEN %s THEN 0 ELSE last_value END))"
            " FROM simulated_clock",
            [int(now * 1e6), back],
        )


def _named(sql: str) -> str:
    table = TABLE.search(sql)
    return f"{sql.split(None, 1)[0]} {table[1] if table else sql[:40]}"


def _turn(text: str) -> str:
    """What a turn does, from its payload, in words."""
    ops = re.findall(r'"op":"(\w+)"(?:,"step":\d+,"key":"([^"]+)")?', text)
    told = [name + (f" {key}" if key else "") for name, key in ops]
    if '"submit":' in text:
        told.insert(0, "submit")
    if '"claim":' in text:
        told.append("claim")
    return f"turn: {', '.join(told)}"
