"""One seed: jobs, who acts on them, what goes wrong, and then the end without faults, which everything must reach."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import UUID

from django.contrib.auth.models import User
from django.test import override_settings

from runtime import doctor, ports
from runtime.conf import settings
from runtime.models import Job
from runtime.ports import CrashPoint
from tests.simulation import people
from tests.simulation.boundaries import (
    BEGINNING,
    Broker,
    Leases,
    ids,
    set_clock,
    simulated,
    stop_at_statements,
)
from tests.simulation.outside import Now, Outside
from tests.simulation.scheduler import Actor, Fault, Scheduler, Seat, acting
from tests.simulation.workers import Process, Workers, left

CHAOS_SECONDS = 40.0
CALM_SECONDS = 900.0
"""Of simulated time: what goes wrong ends after the first, and every job after the second at the latest."""

EXAMINE_SECONDS = 15.0

OF_WORKERS = [Fault.KILL, Fault.FREEZE, Fault.HANG, Fault.DRAIN]
OF_STATEMENTS = [Fault.LOST_BEFORE, Fault.LOST_AFTER]


@dataclass
class Found:
    """What a seed came to."""

    seed: int
    digest: str
    steps: int
    seconds: float
    """Of simulated time."""
    faults: Counter[str]
    points: Counter[str]
    doubts: Counter[str]
    violations: list[str]
    trace: list[str]


@dataclass(frozen=True)
class Weather:
    """What a seed may bring, where it does not draw that itself."""

    rate: float | None = None
    """How likely something goes wrong at a place."""
    kinds: tuple[Fault, ...] = ()
    shapes: tuple[str, ...] = ()
    """Of the jobs."""


class Theatre:
    """The threads and connections that all seeds of a run share."""

    def __init__(self) -> None:
        self._seats: list[Seat] = []
        self.simulation: Simulation | None = None

    def seat(self, actor: Actor) -> None:
        free = next((seat for seat in self._seats if seat.is_free), None)
        if free is None:
            free = Seat(lambda: stop_at_statements(self._scheduler))
            self._seats.append(free)
        free.take(actor)

    def close(self) -> None:
        for seat in self._seats:
            seat.close()

    def _scheduler(self) -> Scheduler | None:
        return self.simulation.scheduler if self.simulation else None


class Simulation:
    def __init__(self, seed: int, theatre: Theatre, weather: Weather) -> None:
        self.weather = weather
        self.chance = random.Random(seed)
        self.scheduler = Scheduler(self.chance, BEGINNING, theatre.seat)
        self.broker = Broker(self.chance)
        self.leases = Leases(self.scheduler, self.broker)
        self.outside = Outside(self.scheduler, self.chance)
        self.workers = Workers(self)
        self.new_id = ids(random.Random(seed + 1))
        self.jobs: list[UUID] = []
        """Those that clients were told are accepted."""
        self.acknowledged: dict[str, UUID] = {}
        """The signals that were accepted, by their deduplication ids."""
        self.counts: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.points: Counter[str] = Counter()
        self.violations: list[str] = []
        self.is_calm = False
        self.boss = User.objects.create_superuser("boss")
        self._looked_at = self._examined_at = BEGINNING
        drawn = self.chance.choice([0.0, 0.005, 0.02, 0.05])
        self._rate = drawn if weather.rate is None else weather.rate
        self._kinds = weather.kinds or [fault for fault in Fault if self.chance.random() < 0.6]

    def run(self) -> None:
        scheduler, chance = self.scheduler, self.chance
        scheduler.draw, scheduler.befalls, scheduler.clock = self._draw, self._befalls, set_clock
        scheduler.stays = chance.choice([0.0, 0.5, 0.9])
        set_clock(scheduler.now, back=True)
        self._unsettle()
        for number in range(chance.choice([2, 2, 3])):
            self.workers.begin(f"worker-{number}", "worker")
        for number in range(chance.choice([1, 1, 2])):
            self.workers.begin(f"sweeper-{number}", "sweeper")
        scheduler.begin("hearts", self.workers.hearts)
        scheduler.begin("person", lambda: people.person(self))
        scheduler.begin("bank", lambda: people.bank(self))
        clients = [
            scheduler.begin(f"client-{number}", lambda: people.client(self))
            for number in range(chance.choice([1, 1, 2]))
        ]
        scheduler.run(lambda: self._is_done(clients), most=CHAOS_SECONDS)
        self._calm()
        if not scheduler.run(lambda: self._is_done(clients), most=CALM_SECONDS):
            self.violation(f"not done after {CALM_SECONDS:g} s without faults: {self._unfinished()}")

    # What goes wrong

    def _unsettle(self) -> None:
        chance = self.chance
        self.broker.loses = chance.choice([0.0, 0.0, 0.1, 0.6])
        self.broker.doubles = chance.choice([0.0, 0.0, 0.1, 0.6])
        self.outside.trouble = chance.choice([0.0, 0.05, 0.2])

    def _calm(self) -> None:
        self.is_calm = True
        self.broker.loses = self.broker.doubles = self.outside.trouble = 0.0
        self.broker.is_away = False

    def _draw(self, actor: Actor) -> Fault | None:
        if self.is_calm or self.chance.random() >= self._rate:
            return None
        self._disturb()
        able = [fault for fault in self._kinds if self._may(actor, fault)]
        return self.chance.choice(able) if able else None

    def _may(self, actor: Actor, fault: Fault) -> bool:
        if fault in OF_STATEMENTS:
            return actor.is_asking
        if fault is Fault.INSIDE:
            return actor.place.startswith("turn")
        if not isinstance(actor.process, Process) or actor.process.is_gone:
            return False
        return fault not in (Fault.HANG, Fault.DRAIN) or actor.process.role == "worker"

    def _disturb(self) -> None:
        """What happens to Redis and to the time."""
        match self.chance.randrange(12):
            case 0:
                self.faults["flushed"] += 1
                self.leases.flush()
            case 1:
                self.faults["broker away"] += not self.broker.is_away
                self.broker.is_away = not self.broker.is_away
            case 2 | 3:
                self.faults["time passed"] += 1
                self.scheduler.pass_time(self.chance.choice([0.3, 2.0, 6.0]))

    def _befalls(self, actor: Actor, fault: Fault) -> None:
        self.faults[fault] += 1
        process, chance, now = actor.process, self.chance, self.scheduler.now
        match fault:
            case Fault.KILL:
                self.workers.killed[process.id] = now
                self.workers.gone(process)
                self.workers.begin_again(actor, after=chance.uniform(0.5, 4))
            case Fault.FREEZE:
                process.frozen_until = actor.wake = now + chance.uniform(1, 15)
            case Fault.INSIDE:
                actor.wake = now + chance.choice([0.0, 0.1, 5.0])
            case Fault.HANG:
                actor.wake = now + chance.uniform(1, 30)
                if Fault.DRAIN in self._kinds and chance.random() < 0.4:
                    self._befalls(actor, Fault.DRAIN)  # somebody restarts what hangs
            case Fault.DRAIN:
                process.drain()
                process.leaves_at = min(process.leaves_at, now + settings().drain_seconds)

    def leave(self, process: Process) -> None:
        """The grace time of a process that drains is over: it says goodbye and ends, whatever its threads do."""
        self.workers.say_goodbye(process)
        for actor in [each for each in self.scheduler.actors if each.process is process and not each.is_done]:
            self.scheduler.stop(actor, left())
            self.workers.begin_again(actor, after=1.0)

    # The end

    def _is_done(self, clients: list[Actor]) -> bool:
        if self.scheduler.now >= self._examined_at + EXAMINE_SECONDS:
            self._examine()
        if self.scheduler.now < self._looked_at + 1 or not all(client.is_done for client in clients):
            return False
        self._looked_at = self.scheduler.now
        return (
            not any(process.held_ids() for process in self.workers.alive)
            and not Job.objects.unfinished().exists()
        )

    def _examine(self) -> None:
        """The invariants hold between any two statements."""
        self._examined_at = self.scheduler.now
        for finding in doctor.examine(deep=False):
            self.violation(f"doctor, under way: {finding.code}: {finding.message}")

    def _unfinished(self) -> list[str]:
        return [
            f"{step.key} is {step.status} {step.waiting_for}"
            for job in Job.objects.unfinished()
            for step in job.steps.unfinished()
        ]

    # What actors ask

    def count(self, what: str) -> int:
        self.counts[what] += 1
        return self.counts[what]

    def violation(self, what: str) -> None:
        self.violations.append(what)

    def reached(self, point: CrashPoint) -> None:
        if actor := acting():
            self.points[point] += 1
            actor.at(f"crash point {point}")


SETTINGS = {"DRAIN_SECONDS": 4.0, "HEARTBEAT_SECONDS": 2.0, "SWEEP_SECONDS": 4.0}
"""Fewer sweeps and heartbeats than usual: each costs as much real time as a step does."""


def run(seed: int, theatre: Theatre, weather: Weather) -> Found:
    """Simulate one seed in the database of this thread's connection, whose tables are empty, and judge it."""
    from tests.simulation.judging import judge

    simulation = Simulation(seed, theatre, weather)
    theatre.simulation = simulation
    with _in_force(simulation):
        try:
            simulation.run()
        finally:
            died = [(actor.name, actor.died_of) for actor in simulation.scheduler.actors if actor.died_of]
            simulation.scheduler.end()
            theatre.simulation = None
    for name, error in died:
        simulation.violation(f"{name} died of {type(error).__name__}: {error}")
    doubts = judge(simulation)
    faults = simulation.faults + simulation.outside.faults
    faults.update({"hint lost": simulation.broker.lost, "hint doubled": simulation.broker.doubled})
    return Found(
        seed,
        simulation.scheduler.digest(),
        simulation.scheduler.steps,
        simulation.scheduler.now - BEGINNING,
        +faults,
        simulation.points,
        doubts,
        simulation.violations,
        simulation.scheduler.trace,
    )


@contextmanager
def _in_force(simulation: Simulation) -> Iterator[None]:
    Now.outside = simulation.outside
    real = ports.crash_hook
    keep = {**SETTINGS, "KEEP_JOB_SECONDS": simulation.chance.choice([0.0, 5.0])}
    from django.conf import settings as of_django

    with (
        override_settings(AETHERIS={**of_django.AETHERIS, **keep}),
        simulated(simulation.scheduler, simulation.broker, simulation.leases),
    ):
        ports.crash_hook = simulation.reached
        try:
            yield
        finally:
            ports.crash_hook = real
