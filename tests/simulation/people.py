"""Who else acts in a simulation: clients that submit jobs and act on them, a person who decides, a bank that tells."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from runtime import clock, planning, resolution, webhooks
from runtime.exceptions import AetherisError
from runtime.models import Job, LedgerEntry, Wait
from runtime.resolution import Verdict
from tests.agents_app.bank import signed
from tests.simulation.graphs import any_graph
from tests.simulation.outside import SEND_SECONDS
from tests.simulation.workers import LOST, expected
from tools import Failed, Happened

if TYPE_CHECKING:
    from tests.simulation.simulation import Simulation


# Clients


def client(simulation: Simulation) -> None:
    """Submits its jobs, and then does this and that to them."""
    chance = simulation.chance
    for number in range(chance.choice([1, 1, 2])):
        _submit(simulation, number)
        simulation.scheduler.sleep(chance.choice([0.0, 0.0, 1.0, 5.0]))
    for _ in range(chance.randint(0, 3)):
        simulation.scheduler.sleep(chance.uniform(0, 6))
        act, job_id = chance.choice([signal, signal, _cancel, _pause, _retry]), chance.choice(simulation.jobs)
        _refusable(act, simulation, job_id)


def _submit(simulation: Simulation, number: int) -> None:
    """Again with the same key where no answer was heard."""
    graph, key = (
        any_graph(simulation.chance, simulation.weather.shapes).build(),
        f"job-{simulation.count('jobs')}",
    )
    while True:
        try:
            job = planning.submit(None, number, graph=graph, idempotency_key=key)
        except LOST:
            simulation.scheduler.sleep(0.2)
        else:
            simulation.jobs.append(job.pk)
            return


def signal(simulation: Simulation, job_id: UUID) -> None:
    dedup = f"signal-{simulation.count('signals')}"
    for _ in range(simulation.chance.choice([1, 1, 2])):  # now and then it comes twice
        try:
            Job.objects.get(pk=job_id).signal("go", dedup, dedup_id=dedup)
        except LOST:
            simulation.scheduler.sleep(0.2)
        else:
            simulation.acknowledged[dedup] = job_id


def _cancel(simulation: Simulation, job_id: UUID) -> None:
    if simulation.chance.random() < 0.4:
        Job.objects.get(pk=job_id).cancel(by="client")


def _pause(simulation: Simulation, job_id: UUID) -> None:
    Job.objects.get(pk=job_id).pause(by="client")
    simulation.scheduler.sleep(3)
    Job.objects.get(pk=job_id).resume(by="client")


def _retry(simulation: Simulation, job_id: UUID) -> None:
    Job.objects.get(pk=job_id).retry(by="client")


# A person


def person(simulation: Simulation) -> None:
    """Looks in now and then: decides, says truly what became of calls, and resumes what was forgotten."""
    while True:
        simulation.scheduler.sleep(simulation.chance.uniform(2, 6), place="person looks in")
        for duty in (_decide, _resolve, _give_up, _wake):
            _refusable(duty, simulation)


def _decide(simulation: Simulation) -> None:
    for wait in Wait.objects.approvals().order_by("pk")[:2]:
        wait.job.decide(wait.step_key, approve=simulation.chance.random() < 0.7, user=simulation.boss)


def _resolve(simulation: Simulation) -> None:
    """A person says what is so, and looks only when nothing may be on its way any more."""
    limit = clock.database_now() - timedelta(seconds=SEND_SECONDS + 1)
    for doubt in LedgerEntry.objects.in_doubt().filter(started_at__lt=limit).order_by("pk")[:3]:
        if (verdict := _truth(simulation, doubt)) is not None:
            resolution.resolve(doubt, verdict[0], by="person", why="looked", result=verdict[1])


def _truth(simulation: Simulation, doubt: LedgerEntry) -> tuple[Verdict, Any] | None:
    """What the outside did under the key of a call; None while it works on it."""
    outside, key = simulation.outside, str(doubt.idempotency_key)
    done, order = outside.effects.get(key), outside.orders.get(key)
    if not done:
        return "absent", None
    if order is None:
        return "happened", done[0]
    if order.done_at > simulation.scheduler.now:
        return None
    return ("happened", order.ended.result) if isinstance(order.ended, Happened) else ("abandon", None)


def _give_up(simulation: Simulation) -> None:
    for wait in Wait.objects.open().filter(kind="refused").order_by("pk")[:2]:
        entry = LedgerEntry.objects.get(undone_by=wait.step)
        again: Verdict = simulation.chance.choice(["again", "again", "abandon"])
        resolution.resolve(entry, again, by="person", why="looked")


def _wake(simulation: Simulation) -> None:
    """Nobody else does, once the faults are over."""
    if not simulation.is_calm:
        return
    for wait in Wait.objects.open().filter(kind="signal").order_by("pk")[:2]:
        signal(simulation, wait.job_id)
    for job in Job.objects.unfinished().filter(paused_at__isnull=False).order_by("pk"):
        job.resume(by="person")


# A bank


def bank(simulation: Simulation) -> None:
    """Tells by webhooks how orders ended: late, twice, or not at all."""
    told: set[str] = set()
    while True:
        simulation.scheduler.sleep(simulation.chance.uniform(1, 4))
        for key, order in list(simulation.outside.orders.items()):
            if key not in told and order.done_at <= simulation.scheduler.now:
                told.add(key)
                for _ in range(simulation.chance.choice([0, 1, 1, 2])):
                    _refusable(_tell, simulation, key)


def _tell(simulation: Simulation, key: str) -> None:
    order = simulation.outside.orders[key]
    match order.ended:
        case Happened(result):
            event = {"type": "paid", "data": {"result": result, "reference": key, "id": order.id}}
        case Failed(message):
            event = {"type": "failed", "data": {"reason": message, "reference": key, "id": order.id}}
    text, headers = signed(event, event=f"evt-{key}")
    webhooks.receive("bank", headers, text)


def _refusable(act: Callable[..., Any], *of: Any) -> None:
    """What cannot be now is refused, and a lost connection is for the next time."""
    try:
        act(*of)
    except (AetherisError, *LOST) as error:
        expected(error)
