"""What must hold of every job when a seed is over, whatever went wrong: rows, events and the outside agree."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from runtime import doctor
from runtime.models import Event, EventPart, Job, LedgerEntry
from runtime.states import EntryState
from tests.history.export import Known, judged
from tests.simulation.outside import CALLS
from tests.simulation.scheduler import Fault
from tools import Failed

if TYPE_CHECKING:
    from tests.simulation.simulation import Simulation

HAPPENED = {EntryState.COMMITTED, EntryState.COMPENSATED}
UNTOUCHED = {EntryState.RESERVED, EntryState.REFUSED, EntryState.CANCELLED}
BY_ITS_ATTEMPT = {
    "step_completed",
    "step_failed",
    "step_retried",
    "step_parked",
    "step_handed_back",
    "tool_called",
    "effect_recorded",
}
"""Events that only the worker may cause that claimed the attempt; where another one acted, no worker is named."""
CLASSES: dict[str, str] = {
    "time passed": "clock",
    Fault.KILL: "process",
    Fault.FREEZE: "process",
    Fault.HANG: "process",
    Fault.DRAIN: "process",
    Fault.LOST_BEFORE: "database",
    Fault.LOST_AFTER: "database",
}
OWN_ERRORS = {
    "IntegrityError",
    "DataError",
    "ProgrammingError",
    "OperationalError",
    "InternalError",
    "AetherisError",
}
"""What a step must never fail of: errors of the runtime's own."""


def judge(simulation: Simulation) -> Counter[str]:
    """Report what is wrong to the simulation. Answers the doubts there were, by cause."""
    jobs = list(Job.objects.order_by("pk"))
    for finding in doctor.examine([job.pk for job in jobs]):
        simulation.violation(f"doctor: {finding.code}: {finding.message}")
    events: defaultdict[Any, list[Event]] = defaultdict(list)
    for event in Event.objects.order_by("job_id", "seq"):
        events[event.job_id].append(event)
    _history(simulation)
    _jobs(simulation, jobs)
    _effects(simulation)
    for told in events.values():
        _attempts(simulation, told)
    return _doubts(events)


def _history(simulation: Simulation) -> None:
    """What the independent checker finds."""
    outside = simulation.outside
    done = {key for key, effects in outside.effects.items() if not isinstance(effects[0], Failed)}
    known = Known(
        at_rest=True,
        tools={f"simulated.{name}": "effects" if name == "pay" else "requests" for name in CALLS},
        effects=[{"key": key} for key in done for _ in outside.effects[key]],
        faults=list(_faults(simulation)),
        submits=simulation.jobs,
        signalled=[(job_id, "go", dedup) for dedup, job_id in simulation.acknowledged.items()],
    )
    for violation in judged(known):
        simulation.violation(str(violation))


def _faults(simulation: Simulation) -> Iterator[dict[str, Any]]:
    for worker, at in simulation.workers.killed.items():
        yield {"class": "process", "kind": "kill", "at": moment(at + 0.0009), "worker": worker}
    for kind in simulation.faults:
        yield {"class": CLASSES.get(kind, "redis"), "kind": kind, "at": moment(simulation.scheduler.now)}
    for kind in simulation.outside.faults:
        yield {"class": "call", "kind": kind, "at": moment(simulation.scheduler.now)}


def _jobs(simulation: Simulation, jobs: list[Job]) -> None:
    for job in jobs:
        if not job.is_finished:
            simulation.violation(f"a job is {job.status} at the end")
        error = (job.error or {}).get("type")
        if error in OWN_ERRORS:
            simulation.violation(f"a job failed of {job.error}")


def _effects(simulation: Simulation) -> None:
    """The ledger says of each key what the outside says."""
    outside, known = simulation.outside, set()
    for entry in LedgerEntry.objects.all():
        key = str(entry.idempotency_key)
        known.add(key)
        done, state = outside.effects.get(key, []), EntryState(entry.state)
        failed = [each for each in done if isinstance(each, Failed)]
        what = f"{entry.call}#{entry.generation} ({entry.name}, {state})"
        if len(done) > 1:
            simulation.violation(f"{what} was done {len(done)} times outside")
        if outside.requests.get(key, 0) > entry.calls:
            simulation.violation(
                f"{what} was sent {outside.requests[key]} times, started {entry.calls} times"
            )
        if state in HAPPENED and (not done or failed):
            simulation.violation(f"{what} did not happen outside")
        if state in UNTOUCHED and done and not failed:
            simulation.violation(f"{what} happened outside")
        if state == EntryState.FAILED and done and not failed:
            simulation.violation(f"{what} happened outside and has failed here")
        if state in (EntryState.STARTED, EntryState.ACCEPTED):
            simulation.violation(f"{what} is open at the end")
    for key in set(outside.effects) - known:
        simulation.violation(f"the outside was asked under a key that no entry has: {key}")


def _attempts(simulation: Simulation, told: list[Event]) -> None:
    """Each attempt is one worker's, and none is taken from a worker that gave it back."""
    claimed: dict[str, Any] = {}
    for event in told:
        step = event.step or ""
        if event.type == "step_claimed":
            claimed[step] = event.worker
        elif event.type in BY_ITS_ATTEMPT and event.worker not in (None, claimed.get(step)):
            simulation.violation(
                f"{step}: {event.type} of attempt {event.attempt} by a worker that did not claim it"
            )
        attempt = (event.job_id, step, event.attempt or 0)
        given_back = simulation.workers.given_back.get(attempt, math.inf)
        if event.type == "step_rescued" and event.at.timestamp() > given_back:
            simulation.violation(f"{step} was rescued from a worker that had ended in order")


def _doubts(events: dict[Any, list[Event]]) -> Counter[str]:
    doubts: Counter[str] = Counter()
    asked = [
        (event.job_id, event.seq)
        for told in events.values()
        for event in told
        if event.type == "tool_unknown"
    ]
    for job_id, seq in asked:
        part = EventPart.objects.filter(job=job_id, seq=seq, name="error").first()
        message = (
            str(part.value.get("message", "")) if part and isinstance(part.value, dict) else "its step ended"
        )
        doubts[_cause(message)] += 1
    return doubts


def _cause(message: str) -> str:
    if "was lost during the call" in message:
        return "worker lost"
    return message.split(":")[0]


def moment(now: float) -> str:
    return datetime.fromtimestamp(now, UTC).isoformat()
