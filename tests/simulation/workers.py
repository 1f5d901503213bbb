"""Worker processes with their heartbeats, and sweepers: the code that runs in production, and what is around it there.

What a supervisor, a Celery pool or a thread does around it is here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.db import InterfaceError, OperationalError, connection

from runtime import recovery
from runtime.conf import settings
from runtime.exceptions import AetherisError
from runtime.execution import run_step
from runtime.incarnation import Incarnation
from runtime.lifelines import NAMESPACE, number
from runtime.ports import Crashed
from tests.simulation.scheduler import Actor

if TYPE_CHECKING:
    from tests.simulation.simulation import Simulation

LOST = (OperationalError, InterfaceError)


class Process(Incarnation):
    """A process that runs steps. Its heart beats when the simulation lets it."""

    skew = 0.0
    """How far its clock is ahead."""
    is_gone = False
    frozen_until = 0.0
    leaves_at = math.inf
    """When the grace time of its drain is over."""

    def start(self) -> None:
        self._beat()

    def beat(self) -> None:
        """As the heartbeat's thread does, once."""
        try:
            self._beat(tied=True)
        except Exception as error:
            expected(error)
            connection.close()


@dataclass
class Workers:
    """The processes of one host; what dies is started again, as a supervisor does."""

    simulation: Simulation
    alive: list[Process] = field(default_factory=list)
    given_back: dict[tuple[UUID, str, int], float] = field(default_factory=dict)
    """Attempts that a process had in its hands when it said goodbye, and when: none may be rescued after it."""
    killed: dict[UUID, float] = field(default_factory=dict)
    """Those that died, and when."""
    beating: Process | None = None
    to_cut: list[UUID] = field(default_factory=list)
    """Processes that ended, and whose connections PostgreSQL has yet to find closed."""

    def begin(self, name: str, role: str, after: float = 0.0) -> None:
        """A process named so; after it, the next one under that name."""
        life = self._sweep if role == "sweeper" else self._work
        actor = self.simulation.scheduler.begin(name, lambda: life(actor), after=after)

    def begin_again(self, actor: Actor, after: float) -> None:
        self.begin(actor.name, actor.process.role, after)

    # A worker of one thread

    def _work(self, actor: Actor) -> None:
        process, broker = self._started(actor, "worker"), self.simulation.broker
        while not process.is_gone and not process.draining:
            ids = broker.take()
            if ids is None:
                has_news = lambda: bool(broker.messages) or process.draining  # noqa: E731
                self.simulation.scheduler.sleep(2.0, has_news, "waits for hints")
            self._run(process, ids or [])
        if not process.is_gone:
            self.say_goodbye(process)
            self.begin_again(actor, after=1.0)

    def _run(self, process: Process, ids: list[int]) -> None:
        """As the Celery task does."""
        for step_id in ids:
            if process.draining:
                return
            try:
                run_step(step_id, process)
            except Exception as error:
                expected(error)
                connection.close()

    def say_goodbye(self, process: Process) -> None:
        held, moment = [one.step for one in process._held.values()], self.simulation.scheduler.now
        process._stop.set()
        while self.beating is process:
            self.simulation.scheduler.sleep(0.05)  # as it waits for the thread of its heartbeat
        try:
            process.stop()
            self.given_back |= {(UUID(str(step.job_id)), step.key, step.attempt): moment for step in held}
        except LOST:
            return  # it ends all the same, and is missed
        finally:
            self.gone(process)

    def gone(self, process: Process) -> None:
        process.is_gone = True
        process._stop.set()
        self.to_cut.append(process.id)
        if process in self.alive:
            self.alive.remove(process)

    # A sweeper

    def _sweep(self, actor: Actor) -> None:
        simulation = self.simulation
        process = self._started(actor, "sweeper")
        sweeper = recovery.Sweeper(process, _forget_after=1e12, _pool=Inline())  # type: ignore[arg-type]
        while True:
            try:
                sweeper.sweep()
            except Exception as error:
                expected(error)
                connection.close()
            simulation.scheduler.sleep(simulation.chance.uniform(2, 9))

    def _started(self, actor: Actor, role: str) -> Process:
        simulation = self.simulation
        process = Process(name=actor.name, id=simulation.new_id(), role=role, threads=1)
        process.others = process.queues if role == "worker" else ()  # as a Celery worker's
        process.skew = simulation.chance.choice([0.0, 0.0, -300.0, 300.0])
        actor.process = process
        while True:
            try:
                process.start()
            except LOST:
                simulation.scheduler.sleep(0.5)
            else:
                self.alive.append(process)
                return process

    # The hearts of all

    def hearts(self) -> None:
        """The heartbeat threads. They share a session, which lets the lifeline of each process go that has died."""
        scheduler = self.simulation.scheduler
        _session("SELECT pg_advisory_unlock_all()")  # of the seed that this session served before
        while True:
            while self.to_cut:
                _session("SELECT pg_advisory_unlock(%s, %s)", NAMESPACE, number(self.to_cut.pop()))
            for process in list(self.alive):
                if process._stop.is_set() or process.frozen_until > scheduler.now:
                    continue
                self.beating = process
                process.beat()
                self.beating = None
                if process.leaves_at <= scheduler.now and not process.is_gone:
                    self.simulation.leave(process)
            scheduler.sleep(settings().heartbeat_seconds, lambda: bool(self.to_cut))


class Inline:
    """The pool of a sweeper that runs steps itself, as one of its own acts."""

    def submit(self, function: Callable[..., Any], *arguments: Any) -> None:
        function(*arguments)


def expected(error: BaseException) -> None:
    """Only what the simulation itself did may come up from below, and what the runtime refuses on purpose."""
    if not (isinstance(error, LOST) and "simulated" in str(error) or isinstance(error, AetherisError)):
        raise error


def left() -> Crashed:
    """What ends the threads of a process that leaves."""
    return Crashed("the process has ended")


def _session(sql: str, *values: Any) -> None:
    """A statement that belongs to no actor: what the operating system and PostgreSQL do between them."""
    connection.ensure_connection()
    connection.connection.execute(sql, values)
