"""One seeded scheduler: of all actors exactly one runs at a time, until it comes to its next place.

An actor is a function in a thread that has a database connection of its own. At each place (a statement, a crash
point, a request to the outside, a sleep) it hands the baton back and waits. The scheduler then draws who goes on,
and whether something goes wrong there. Time is the scheduler's too: it moves when everybody sleeps, and sometimes
by itself. So a seed is a schedule: the same seed gives the same one again.
"""

from __future__ import annotations

import hashlib
import random
import threading
import time as real_time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from queue import SimpleQueue
from typing import Any, TypeVar

from django.db import OperationalError, connection

from runtime.ports import Crashed
from tests.simulation.inside import Pauses

T = TypeVar("T")

MOST_READS = 0.8
"""How many statements beside turns are passed by: they are many, and what they see shows in the turns after them."""
MOST_SECONDS = 60.0
"""Of real time, between two places of one actor: an actor that takes longer is stuck."""


class Fault(StrEnum):
    """What may go wrong at a place."""

    KILL = "kill"
    LOST_BEFORE = "connection lost before the statement"
    LOST_AFTER = "connection lost after the statement"
    FREEZE = "process frozen"
    HANG = "thread hangs"
    DRAIN = "SIGTERM"
    INSIDE = "stopped inside the statement"


class Stuck(Exception):
    """An actor does not come back: the simulation itself is at fault, or the code waits for what nobody does."""


class Over(Crashed):
    """The seed is over: whatever still runs ends here."""


@dataclass
class Actor:
    """Somebody who acts: a worker's thread, a heartbeat, a sweeper, a client, a person."""

    name: str
    body: Callable[[], Any]
    process: Any = None
    """What is frozen and killed with it: actors of one process share it."""
    wake: float = 0.0
    wants: Callable[[], bool] | None = None
    is_dead: bool = False
    """Killed: nothing of it may reach the database or the outside any more."""
    is_done: bool = False
    place: str = "begins"
    is_asking: bool = False
    """Whether the place is a statement, whose answer may get lost."""
    died_of: BaseException | None = None
    stands: int | None = None
    """Where it stands still inside a statement, or is to."""
    is_blocked: bool = False
    """Whether it waits for a lock inside a statement, its own pause or that of another."""
    doom: BaseException | None = None
    """What ends it as soon as its statement has."""
    _fault: Fault | None = None
    _end: BaseException | None = None
    _go: threading.Lock = field(default_factory=threading.Lock)
    _back: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._go.acquire()
        self._back.acquire()

    def at(self, place: str, *, is_asking: bool = False) -> Fault | None:
        """Hand the baton back here. Answers what goes wrong; raises `Crashed` where the actor's life ends."""
        if self.is_dead:
            raise self._end or Crashed(place)
        self.place, self.is_asking = place, is_asking
        self._back.release()
        self._go.acquire()
        if self._end is not None:
            self.is_dead = True
            raise self._end
        fault, self._fault = self._fault, None
        return fault

    def give(self, fault: Fault | None = None, end: BaseException | None = None) -> None:
        """Let the actor run to its next place."""
        self._fault, self._end = fault, end
        self._go.release()

    def is_back(self, seconds: float = MOST_SECONDS) -> bool:
        return self._back.acquire(timeout=seconds)

    def run(self) -> None:
        """In the thread of its seat."""
        self._go.acquire()
        try:
            if self._end is None:
                self.body()
        except Crashed:
            self.is_dead = True
        except BaseException as error:  # told by whoever judges the seed
            self.died_of = error
        finally:
            self.is_done = True
            self._back.release()


here = threading.local()
"""`here.actor`: who runs in this thread."""


def acting() -> Actor | None:
    return getattr(here, "actor", None)


class Seat:
    """A thread with a connection of its own, which outlives those who sit in it: to connect anew is dear."""

    def __init__(self, prepare: Callable[[], None]) -> None:
        self._prepare = prepare
        self._actor: Actor | None = None
        self._actors: SimpleQueue[Actor | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, daemon=True, name="simulated")
        self._thread.start()

    @property
    def is_free(self) -> bool:
        return self._actor is None or self._actor.is_done

    def take(self, actor: Actor) -> None:
        self._actor = actor
        self._actors.put(actor)

    def close(self) -> None:
        self._actors.put(None)
        self._thread.join(MOST_SECONDS)

    def _run(self) -> None:
        self._prepare()
        while (actor := self._actors.get()) is not None:
            here.actor = actor
            actor.run()
            here.actor = None
        connection.close()


class Scheduler:
    def __init__(self, chance: random.Random, now: float, seat: Callable[[Actor], None]) -> None:
        self.chance = chance
        self.now = now
        self.steps = 0
        self.actors: list[Actor] = []
        self.draw: Callable[[Actor], Fault | None] = lambda actor: None
        """What goes wrong where an actor stands."""
        self.befalls: Callable[[Actor, Fault], None] = lambda actor, fault: None
        """What a fault means for others than the actor, told before it goes on."""
        self.clock: Callable[[float], None] = lambda now: None
        """Told when time has moved."""
        self.stays = 0.0
        """How likely it is that who ran last goes on."""
        self.trace: list[str] = []
        self._seat = seat
        self._pauses = Pauses()
        self._last: Actor | None = None
        self._out: list[Actor] = []
        """Those that are under way: with nobody inside a statement, one while it runs."""

    def begin(self, name: str, body: Callable[[], Any], *, process: Any = None, after: float = 0.0) -> Actor:
        actor = Actor(name, body, process, wake=self.now + after)
        self._seat(actor)
        self.actors.append(actor)
        return actor

    def run(self, until: Callable[[], bool], *, most: float) -> bool:
        """Step by step, until it is so. False where it has not become so within `most` seconds of simulated time."""
        end = self.now + most
        while not until():
            if self.now > end:
                return False
            if (actor := self._choose()) is None:
                return until()
            self._step(actor)
        return True

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.clock(self.now)

    def end(self) -> None:
        """Everybody stops where they are."""
        for actor in list(self._out):
            self._let_go(actor)
        for actor in list(self.actors):
            self.stop(actor, Over("the seed is over"))
        self.actors.clear()

    def stop(self, actor: Actor, why: BaseException) -> None:
        """End an actor: at once, or when the statement that it is inside of has ended."""
        if actor in self._out:
            actor.doom = why
        elif not actor.is_done:
            actor.give(end=why)
            if not actor.is_back() or not actor.is_done:
                raise Stuck(f"{actor.name} does not end at {actor.place}")

    def digest(self) -> str:
        """Of the schedule: equal where the same happened in the same order."""
        return hashlib.sha256("\n".join(self.trace).encode()).hexdigest()[:16]

    def _choose(self) -> Actor | None:
        while alive := [actor for actor in self.actors if not actor.is_done]:
            able = [actor for actor in alive if self._is_able(actor)]
            if able:
                if self._last in able and self.chance.random() < self.stays:
                    return self._last
                return self.chance.choice(able)
            coming = [actor.wake for actor in alive if actor.wake > self.now]
            wake = min(coming, default=self.now)
            self.pass_time(max(0.001, wake - self.now))
        return None

    def _is_able(self, actor: Actor) -> bool:
        waits = [each for each in self._out if each.is_blocked and not each.stands]
        if actor in waits:
            return False
        if waits and not actor.stands and actor.place.startswith("turn"):
            return False  # which of two that wait PostgreSQL lets in first, no seed says
        return actor.wake <= self.now or actor.wants is not None and actor.wants()

    def _step(self, actor: Actor) -> None:
        self.steps += 1
        self._last = actor
        if actor in self._out:
            self.trace.append(f"{self.now:.3f} {actor.name} goes on inside {actor.place}")
            self._let_go(actor)
            return
        fault = self.draw(actor)
        self.trace.append(f"{self.now:.3f} {actor.name} {actor.place}{f' !{fault}' if fault else ''}")
        actor.wake, actor.wants = self.now, None
        if fault is not None:
            self.befalls(actor, fault)
        if fault in (Fault.FREEZE, Fault.HANG):
            return  # it stays where it is; `befalls` says how long
        if fault is Fault.KILL:
            self.stop(actor, Crashed(actor.place))
            return
        if fault is Fault.INSIDE:
            actor.stands = self._pauses.close()
        self._out.append(actor)
        actor.give(fault)
        self._gather()

    def _let_go(self, actor: Actor) -> None:
        """It stands still no longer, and with it go those that it kept waiting."""
        if actor.stands:
            self._pauses.open(actor.stands)
            actor.stands = None
        self._gather()

    def _gather(self) -> None:
        """Wait until everybody is back, or stands inside a statement that waits for a lock."""
        end = real_time.perf_counter() + MOST_SECONDS
        while self._out:
            alone = len(self._out) == 1 and not self._out[0].stands
            for actor in list(self._out):
                if actor.is_back(MOST_SECONDS if alone else 0.002):
                    self._back(actor)
            if not alone and self._out and self._pauses.standing() == len(self._out):
                for actor in self._out:
                    actor.is_blocked = True
                return
            if real_time.perf_counter() > end:
                raise Stuck(f"not back: {[(actor.name, actor.place) for actor in self._out]}")

    def _back(self, actor: Actor) -> None:
        self._out.remove(actor)
        actor.is_blocked = False
        if actor.stands:  # its turn did not come by that place
            self._pauses.open(actor.stands)
            actor.stands = None
        if actor.doom is not None:
            self.stop(actor, actor.doom)

    # For actors

    def sleep(self, seconds: float, wants: Callable[[], bool] | None = None, place: str = "sleeps") -> None:
        """Of the actor in this thread: until its time has come, or `wants` says that there is something to do."""
        actor = acting()
        assert actor is not None
        actor.wake, actor.wants = self.now + seconds, wants
        actor.at(place)

    def statement(self, place: str, execute: Callable[[], T]) -> T:
        """A statement of the actor in this thread: another may come before it, and its answer may be lost."""
        actor = acting()
        if actor is None or connection.in_atomic_block:
            return execute()  # inside a transaction it may hold locks that others would wait for
        if not place.startswith("turn") and self.chance.random() < MOST_READS:
            return execute()
        match actor.at(place, is_asking=True):
            case Fault.LOST_BEFORE:
                raise OperationalError("simulated: the connection was lost before the statement")
            case Fault.LOST_AFTER:
                with suppress(Exception):  # nobody hears what it answered
                    execute()
                raise OperationalError("simulated: the connection was lost after the statement")
            case fault:
                return (
                    self._inside(actor, execute) if fault is Fault.INSIDE else self._crowded(actor, execute)
                )

    def _inside(self, actor: Actor, execute: Callable[[], T]) -> T:
        assert actor.stands is not None
        self._pauses.told(actor.stands)
        try:
            return self._crowded(actor, execute)
        finally:
            self._pauses.forgotten()

    def _crowded(self, actor: Actor, execute: Callable[[], T]) -> T:
        """Who has waited for a lock runs beside the one who let it go, and so does nothing more by itself."""
        try:
            return execute()
        finally:
            if actor.is_blocked:
                actor.at("has waited")
