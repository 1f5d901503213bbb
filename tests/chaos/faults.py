"""The faults: what is done to processes, servers and connections. Each is begun at once and ended some time later."""

from __future__ import annotations

import math
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum

import psutil
import psycopg

from runtime.stack.child import Child
from runtime.stack.postgres import Postgres
from runtime.stack.valkey import Valkey
from tests.faults.proxy import Moment, Way
from tests.faults.stack import Proxied

FROZEN_SECONDS = 7.0
"""Longer than a lease and the sweep after it."""
HALF_OPEN_SECONDS = 6.0
"""Longer than every timeout of a client of Redis."""
SWALLOWED_SECONDS = 2.0
WORKERS = ("worker-1", "worker-2")


class Kind(StrEnum):
    KILL_CHILD = "kill_child"
    KILL_WORKER = "kill_worker"
    KILL_SWEEPER = "kill_sweeper"
    FREEZE_WORKER = "freeze_worker"
    TERMINATE_WORKER = "terminate_worker"
    POSTGRES_CRASH = "postgres_crash"
    TERMINATE_BACKENDS = "terminate_backends"
    CUT_BEFORE_COMMIT = "cut_before_commit"
    CUT_AFTER_COMMIT = "cut_after_commit"
    RESET_ALL = "reset_all"
    POSTGRES_SWALLOWED = "postgres_swallowed"
    FLUSH = "flush"
    REDIS_KILL = "redis_kill"
    REDIS_HALF_OPEN = "redis_half_open"
    REDIS_OFF = "redis_off"
    REDIS_READ_ONLY = "redis_read_only"


CLASSES = {
    **dict.fromkeys([Kind.KILL_CHILD, Kind.KILL_WORKER, Kind.KILL_SWEEPER], "process"),
    **dict.fromkeys([Kind.FREEZE_WORKER, Kind.TERMINATE_WORKER], "process"),
    **dict.fromkeys([Kind.POSTGRES_CRASH, Kind.TERMINATE_BACKENDS], "database"),
    **dict.fromkeys([Kind.CUT_BEFORE_COMMIT, Kind.CUT_AFTER_COMMIT, Kind.RESET_ALL], "network"),
    Kind.POSTGRES_SWALLOWED: "network",
    **dict.fromkeys([Kind.FLUSH, Kind.REDIS_KILL, Kind.REDIS_HALF_OPEN], "redis"),
    **dict.fromkeys([Kind.REDIS_OFF, Kind.REDIS_READ_ONLY], "redis"),
}
"""As the checker of histories tells them apart."""
KILLS = (Kind.KILL_CHILD, Kind.KILL_WORKER, Kind.KILL_SWEEPER)
SELDOM = (
    Kind.KILL_CHILD,
    Kind.KILL_SWEEPER,
    Kind.FREEZE_WORKER,
    Kind.TERMINATE_WORKER,
    Kind.POSTGRES_CRASH,
    Kind.POSTGRES_SWALLOWED,
    Kind.REDIS_KILL,
    Kind.REDIS_HALF_OPEN,
)
"""What takes a process down, or stands still for long."""
DECK = Counter(dict.fromkeys(SELDOM, 1)) + Counter(
    {
        Kind.KILL_WORKER: 2,
        Kind.TERMINATE_BACKENDS: 4,
        Kind.CUT_BEFORE_COMMIT: 6,
        Kind.CUT_AFTER_COMMIT: 6,
        Kind.RESET_ALL: 3,
        Kind.FLUSH: 3,
    }
)
"""How often each kind comes in a round."""


def kinds(seed: int) -> Iterator[Kind]:
    """The faults of a seed, without end: round after round of the deck, shuffled."""
    chance = random.Random(f"faults {seed}")
    while True:
        yield from chance.sample(list(DECK.elements()), DECK.total())


@dataclass
class Fault:
    """One that was done. Times are those of the clock on the wall, which events have as well."""

    kind: Kind
    began: float
    ended: float | None = None
    victim: str = ""
    pid: int = 0
    _undo: Callable[[], None] | None = None
    _until: float = 0.0

    @property
    def is_due(self) -> bool:
        return self._undo is not None and time.monotonic() >= self._until

    def end(self) -> None:
        undo, self._undo = self._undo, None
        if undo is not None:
            undo()
            self.ended = time.time()


class Breaker:
    """Breaks what it is told to, of one stack."""

    def __init__(self, ground: Proxied, seed: int) -> None:
        self.ground = ground
        self.done: list[Fault] = []
        self._chance = random.Random(f"victims {seed}")

    def strike(self, kind: Kind) -> Fault:
        self.ground.stack._delays.clear()  # whoever is killed often is started more and more slowly
        fault = Fault(kind, time.time())
        self.done.append(fault)
        getattr(self, f"_{kind}")(fault)
        return fault

    def end_due(self) -> None:
        for fault in self.done:
            if fault.is_due:
                fault.end()

    def end_all(self) -> None:
        """Whole again, and everything that was ever killed or frozen runs."""
        for fault in self.done:
            fault.end()
        self.ground.mend()
        for child in self.ground.stack.children.values():
            if child.alive:
                child.resume()

    def counted(self) -> Counter[Kind]:
        return Counter(fault.kind for fault in self.done)

    # Processes

    def _kill_worker(self, fault: Fault) -> None:
        self._kill(fault, self._chance.choice(WORKERS))

    def _kill_sweeper(self, fault: Fault) -> None:
        self._kill(fault, "sweeper-1")

    def _kill_child(self, fault: Fault) -> None:
        """Of the pool of processes: its parent lives, and starts another."""
        with suppress(psutil.NoSuchProcess):
            for child in psutil.Process(self._child("heavy-1").pid).children():
                fault.victim, fault.pid = "heavy-1", child.pid
                os.kill(child.pid, signal.SIGKILL)

    def _freeze_worker(self, fault: Fault) -> None:
        child = self._named(fault, self._chance.choice(WORKERS))
        child.pause()

        def resume() -> None:
            if child.alive and child.pid == fault.pid:
                child.resume()

        self._later(fault, FROZEN_SECONDS, resume)

    def _terminate_worker(self, fault: Fault) -> None:
        """It drains; the supervisor starts another when it has ended."""
        child = self._named(fault, self._chance.choice(WORKERS))
        child.resume()  # or it would hear of it only when it is thawed
        child.signal(signal.SIGTERM)

    def _kill(self, fault: Fault, name: str) -> None:
        self._named(fault, name).kill()

    def _named(self, fault: Fault, name: str) -> Child:
        """The child, alive."""
        child = self._child(name)
        fault.victim, fault.pid = name, child.pid
        return child

    def _child(self, name: str) -> Child:
        """What has been killed a moment ago is waited for."""
        child = self.ground.stack.children[name]
        until = time.monotonic() + 30
        while not child.alive and time.monotonic() < until:
            time.sleep(0.02)
        return child

    # PostgreSQL

    def _postgres_crash(self, fault: Fault) -> None:
        """Immediate: nothing is written, nobody is told; what was acknowledged is in the log."""
        self._named(fault, "postgres").signal(signal.SIGQUIT)

    def _terminate_backends(self, fault: Fault) -> None:
        postgres = self.ground.stack.postgres
        assert isinstance(postgres, Postgres)
        with suppress(psycopg.Error), postgres.connect() as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s",
                [self._chance.choice([*WORKERS, "sweeper-1", "heavy-1", "web"])],
            )

    def _cut_before_commit(self, fault: Fault) -> None:
        self.ground.before_postgres.cut(Moment.BEFORE)

    def _cut_after_commit(self, fault: Fault) -> None:
        self.ground.before_postgres.cut(Moment.AFTER)

    def _reset_all(self, fault: Fault) -> None:
        self.ground.before_postgres.reset_all()

    def _postgres_swallowed(self, fault: Fault) -> None:
        self.ground.before_postgres.swallow(*self._chance.choice([(), (Way.TO_SERVER,), (Way.TO_CLIENT,)]))
        self._later(fault, SWALLOWED_SECONDS, self.ground.before_postgres.mend)

    # Redis

    def _flush(self, fault: Fault) -> None:
        with suppress(OSError):
            self._valkey.flush()

    def _redis_kill(self, fault: Fault) -> None:
        self._kill(fault, "valkey")

    def _redis_half_open(self, fault: Fault) -> None:
        self.ground.before_valkey.freeze()
        self._later(fault, HALF_OPEN_SECONDS, self.ground.before_valkey.mend)

    def _redis_off(self, fault: Fault) -> None:
        """Until everything is mended."""
        self._valkey.stop()
        self._later(fault, math.inf, self._valkey.start)

    def _redis_read_only(self, fault: Fault) -> None:
        """A replica of a master that is not there, until everything is mended."""
        self._valkey.command("REPLICAOF 127.0.0.1 1")
        self._later(fault, math.inf, lambda: self._tell_valkey("REPLICAOF NO ONE"))

    def _tell_valkey(self, line: str) -> None:
        self._valkey.command(line)

    @property
    def _valkey(self) -> Valkey:
        valkey = self.ground.stack.valkey
        assert valkey is not None
        return valkey

    def _later(self, fault: Fault, seconds: float, undo: Callable[[], None]) -> None:
        fault._undo, fault._until = undo, time.monotonic() + seconds
