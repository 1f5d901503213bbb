"""Who acts in a simulation: worker processes with their heartbeats, sweepers, clients, people, and the outside.

Each runs the code that it runs in production; what a supervisor, a Celery pool or a thread does around it is here.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.db import InterfaceError, OperationalError, connection

from runtime import planning, recovery, resolution, webhooks
from runtime.conf import settings
from runtime.exceptions import AetherisError
from runtime.execution import run_step
from runtime.incarnation import Incarnation
from runtime.models import Job, LedgerEntry, Wait
from runtime.ports import Crashed
from runtime.resolution import Verdict
from tests.agents_app.bank import signed
from tests.simulation.graphs import any_graph
from tests.simulation.outside import SEND_SECONDS
from tests.simulation.scheduler import Actor
from tools import Failed, Happened

if TYPE_CHECKING:
    from tests.simulation.simulation import Simulation

LOST = (OperationalError, InterfaceError)


class Process(Incarnation):
    """A worker process: several threads that run steps, and a heart that the simulation lets beat."""

    skew: float = 0.0
    is_gone: bool = False
    frozen_until: float = 0.0

    def start(self) -> None:
        self._beat()

    def beat(self) -> None:
        """As the heartbeat's thread does, once."""
        try:
            self._beat()
        except Exception as error:
            _expected(error)
            connection.close()

    @property
    def is_past_grace(self) -> bool:
        return self._drain_until is not None and self.now() > self._drain_until

    now: Callable[[], float] = staticmethod(lambda: 0.0)


@dataclass
class Workers:
    """The worker processes of one host; what dies is started again, as a supervisor does."""

    simulation: Simulation
    alive: list[Process] = field(default_factory=list)
    ended_in_order: set[UUID] = field(default_factory=set)
    """Incarnations that said goodbye: nothing of theirs may be rescued as lost."""
    killed: set[UUID] = field(default_factory=set)
    frozen: set[UUID] = field(default_factory=set)

    def thread(self, name: str) -> Callable[[], None]:
        """The life of a worker process of one thread."""

        def body() -> None:
            simulation = self.simulation
            process = Process(name=name, id=simulation.new_id(), threads=1)
            process.now = lambda: simulation.scheduler.now
            process.skew = simulation.skew()
            self.seat_of(name).process = process
            self._started(process)
            while not simulation.is_over and not process.is_gone:
                ids = simulation.broker.take()
                if ids is None:
                    simulation.scheduler.sleep(
                        2.0, lambda: bool(simulation.broker.messages) or process.draining, "waits for hints"
                    )
                self._run(process, ids or [])
                if process.draining:
                    break
            self._stop(process)

        return body

    def seat_of(self, name: str) -> Actor:
        return next(actor for actor in self.simulation.scheduler.actors if actor.name == name and not actor.is_done)

    def _started(self, process: Process) -> None:
        while True:
            try:
                process.start()
            except LOST:
                self.simulation.scheduler.sleep(0.5)
            else:
                break
        self.alive.append(process)

    def _run(self, process: Process, ids: list[int]) -> None:
        """As the Celery task does."""
        for step_id in ids:
            if process.draining:
                return
            try:
                run_step(step_id, process)
            except Exception as error:
                _expected(error)
                connection.close()

    def _stop(self, process: Process) -> None:
        if process.is_gone:
            return
        try:
            process.stop()
        except LOST:
            return  # it ends all the same, and is missed
        finally:
            self.gone(process)
        self.ended_in_order.add(process.id)

    def gone(self, process: Process) -> None:
        process.is_gone = True
        if process in self.alive:
            self.alive.remove(process)

    def hearts(self) -> None:
        """The heartbeat threads of all processes."""
        simulation = self.simulation
        while not simulation.is_over:
            for process in list(self.alive):
                if process.is_gone or process.frozen_until > simulation.scheduler.now:
                    continue
                process.beat()
                if process.is_past_grace and not process.is_gone:
                    simulation.leave(process)
            simulation.scheduler.sleep(settings().heartbeat_seconds)


class Inline:
    """The pool of a sweeper that runs steps itself, as one of its own acts."""

    def submit(self, function: Callable[..., Any], *arguments: Any) -> None:
        function(*arguments)

    def shutdown(self, **how: Any) -> None:
        pass


def sweeper(simulation: Simulation, name: str) -> Callable[[], None]:
    def body() -> None:
        process = Process(name=name, id=simulation.new_id(), role="sweeper", threads=1)
        process.now = lambda: simulation.scheduler.now
        simulation.workers.seat_of(name).process = process
        simulation.workers._started(process)
        sweep = recovery.Sweeper(process, _forget_after=1e12, _pool=Inline())  # type: ignore[arg-type]
        while not simulation.is_over:
            try:
                sweep.sweep()
            except Exception as error:
                _expected(error)
                connection.close()
            simulation.scheduler.sleep(simulation.chance.uniform(1, 6))

    return body


def client(simulation: Simulation) -> Callable[[], None]:
    """Submits its jobs, again with the same key where it heard no answer, and then does this and that to them."""

    def body() -> None:
        chance = simulation.chance
        for number in range(chance.choice([1, 1, 2])):
            graph, key = any_graph(chance).build(), f"job-{len(simulation.graphs)}"
            simulation.graphs[key] = graph
            insist(simulation, lambda: planning.submit(None, number, graph=graph, idempotency_key=key), key)
            simulation.scheduler.sleep(chance.choice([0.0, 0.0, 1.0, 5.0]))
        for _ in range(chance.randint(0, 3)):
            simulation.scheduler.sleep(chance.uniform(0, 6))
            act = chance.choice([signal, signal, cancel, pause, retry])
            if simulation.accepted:
                _refusable(lambda: act(simulation, chance.choice(list(simulation.accepted.values()))))

    return body


def insist(simulation: Simulation, submit: Callable[[], Job], key: str) -> None:
    for _ in range(20):
        try:
            job = submit()
        except LOST:
            simulation.scheduler.sleep(0.2)
            continue
        known = simulation.accepted.setdefault(key, job.pk)
        if known != job.pk:
            simulation.violation(f"the key {key} names two jobs: {known} and {job.pk}")
        return


def signal(simulation: Simulation, job_id: UUID) -> None:
    dedup = f"signal-{simulation.count('signals sent')}"
    for _ in range(simulation.chance.choice([1, 1, 2])):  # now and then it comes twice
        try:
            Job.objects.get(pk=job_id).signal("go", dedup, dedup_id=dedup)
        except LOST:
            simulation.scheduler.sleep(0.2)
        else:
            simulation.acknowledged[dedup] = job_id


def cancel(simulation: Simulation, job_id: UUID) -> None:
    if simulation.chance.random() < 0.4:
        Job.objects.get(pk=job_id).cancel(by="client")


def pause(simulation: Simulation, job_id: UUID) -> None:
    Job.objects.get(pk=job_id).pause(by="client")
    simulation.scheduler.sleep(3)
    simulation.resume(job_id)


def retry(simulation: Simulation, job_id: UUID) -> None:
    Job.objects.get(pk=job_id).retry(by="client")


def person(simulation: Simulation) -> Callable[[], None]:
    """Looks in now and then: decides, says truly what became of calls, and resumes what was forgotten."""

    def body() -> None:
        while not simulation.is_over:
            simulation.scheduler.sleep(simulation.chance.uniform(2, 6), place="person looks in")
            for duty in (_decide, _resolve, _give_up, _wake, _resume):
                _refusable(lambda: duty(simulation))  # noqa: B023 - at once

    return body


def _decide(simulation: Simulation) -> None:
    for wait in Wait.objects.approvals().order_by("pk")[:2]:
        wait.job.decide(wait.step_key, approve=simulation.chance.random() < 0.7, user=simulation.boss)


def _resolve(simulation: Simulation) -> None:
    """A person says what is so, and looks only when nothing may be on its way any more."""
    limit = timedelta(seconds=SEND_SECONDS + 1)
    for doubt in LedgerEntry.objects.in_doubt().select_related("step").order_by("pk")[:3]:
        if doubt.started_at is None or simulation.database_now() - doubt.started_at < limit:
            continue
        if (verdict := simulation.truth(doubt)) is not None:
            simulation.count("resolved by a person")
            resolution.resolve(doubt, verdict[0], by="person", why="looked", result=verdict[1])


def _give_up(simulation: Simulation) -> None:
    for wait in Wait.objects.open().filter(kind="refused").order_by("pk")[:2]:
        entry = LedgerEntry.objects.get(undone_by=wait.step)
        again: Verdict = simulation.chance.choice(["again", "again", "abandon"])
        resolution.resolve(entry, again, by="person", why="looked")


def _wake(simulation: Simulation) -> None:
    if simulation.is_calm:
        for wait in Wait.objects.open().filter(kind="signal").order_by("pk")[:2]:
            signal(simulation, wait.job_id)


def _resume(simulation: Simulation) -> None:
    if simulation.is_calm:
        for job_id in Job.objects.unfinished().filter(paused_at__isnull=False).values_list("pk", flat=True):
            simulation.resume(job_id)


def bank(simulation: Simulation) -> Callable[[], None]:
    """Tells by webhooks how orders ended: late, twice, or not at all."""

    def body() -> None:
        told: set[str] = set()
        while not simulation.is_over:
            simulation.scheduler.sleep(simulation.chance.uniform(1, 4))
            for key, order in list(simulation.outside.orders.items()):
                if key not in told and order.done_at <= simulation.scheduler.now:
                    told.add(key)
                    for _ in range(simulation.chance.choice([0, 1, 1, 2])):
                        _refusable(lambda: _tell(simulation, key))  # noqa: B023 - at once

    return body


def _tell(simulation: Simulation, key: str) -> None:
    order = simulation.outside.orders[key]
    match order.ended:
        case Happened(result):
            event = {"type": "paid", "data": {"result": result, "reference": key, "id": order.id}}
        case Failed(message):
            event = {"type": "failed", "data": {"reason": message, "reference": key, "id": order.id}}
    text, headers = signed(event, event=f"evt-{key}")
    simulation.count("webhooks")
    webhooks.receive("bank", headers, text)


def _refusable(act: Callable[[], Any]) -> None:
    """What cannot be now is refused, and a lost connection is for the next time."""
    try:
        act()
    except AetherisError:
        return
    except LOST as error:
        _expected(error)


def _expected(error: BaseException) -> None:
    """Only what the simulation itself did may come up from below."""
    if not (isinstance(error, LOST) and "simulated" in str(error)) and not isinstance(error, AetherisError):
        raise error


def skew_of(chance: random.Random) -> float:
    return chance.choice([0.0, 0.0, -300.0, 300.0])


def left() -> Crashed:
    """What ends the threads of a process that leaves."""
    return Crashed("the process has ended")
