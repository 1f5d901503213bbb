"""What must hold of every job when a seed is over, whatever went wrong: rows, events and the outside agree."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

from runtime import chain, doctor
from runtime.models import Event, EventPart, Job, LedgerEntry, Signal
from runtime.states import EntryState
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
OWN_ERRORS = {"IntegrityError", "DataError", "ProgrammingError", "OperationalError", "InternalError", "AetherisError"}
"""What a step must never fail of: errors of the runtime's own."""


def judge(simulation: Simulation) -> Counter[str]:
    """Report what is wrong to the simulation. Answers the doubts there were, by cause."""
    jobs = list(Job.objects.order_by("pk"))
    for finding in doctor.examine([job.pk for job in jobs]):
        simulation.violation(f"doctor: {finding.code}: {finding.message}")
    events: defaultdict[Any, list[Event]] = defaultdict(list)
    for event in Event.objects.order_by("job_id", "seq"):
        events[event.job_id].append(event)
    _chains(simulation, events)
    _jobs(simulation, jobs)
    _effects(simulation)
    _signals(simulation, events)
    for told in events.values():
        _attempts(simulation, told)
    return _doubts(events)


def _chains(simulation: Simulation, events: dict[Any, list[Event]]) -> None:
    parts: defaultdict[Any, defaultdict[int, list[chain.Part]]] = defaultdict(lambda: defaultdict(list))
    for part in EventPart.objects.all():
        parts[part.job_id][part.seq].append(chain.Part(part.name, part.value, part.salt))
    for job_id, told in events.items():
        sealed = [chain.SealedEvent(bytes(event.header), bytes(event.digest)) for event in told]
        for problem in chain.verify(sealed, parts[job_id]):
            simulation.violation(f"chain: {problem}")


def _jobs(simulation: Simulation, jobs: list[Job]) -> None:
    there = {job.pk: job for job in jobs}
    for key, job_id in simulation.accepted.items():
        if job_id not in there:
            simulation.violation(f"the job of {key} was accepted and is not there")
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
            simulation.violation(f"{what} was sent {outside.requests[key]} times, started {entry.calls} times")
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


def _signals(simulation: Simulation, events: dict[Any, list[Event]]) -> None:
    rows = {signal.dedup_id: signal for signal in Signal.objects.all()}
    for dedup, job_id in simulation.acknowledged.items():
        if dedup not in rows or rows[dedup].job_id != job_id:
            simulation.violation(f"signal {dedup} was accepted and is not there")
    acted = Counter(event.data["signal"] for told in events.values() for event in told if event.type == "signal_consumed")
    for signal in rows.values():
        if acted[signal.pk] != (signal.state == "consumed"):
            simulation.violation(f"signal {signal.dedup_id} is {signal.state} and acted {acted[signal.pk]} times")


def _attempts(simulation: Simulation, told: list[Event]) -> None:
    """Attempts rise, each has one worker, and after the next was claimed nothing is decided by the one before."""
    claimed: dict[str, tuple[int, Any]] = {}
    completed: Counter[str] = Counter()
    for event in told:
        step, attempt = event.step or "", event.attempt
        last, worker = claimed.get(step, (0, None))
        if event.type == "step_claimed":
            if attempt != last + 1:
                simulation.violation(f"{step}: attempt {attempt} was claimed after attempt {last}")
            claimed[step] = (attempt or 0, event.worker)
        elif event.type in BY_ITS_ATTEMPT and attempt != last:
            simulation.violation(f"{step}: {event.type} of attempt {attempt} after attempt {last} was claimed")
        elif event.type in BY_ITS_ATTEMPT and event.worker not in (None, worker):
            simulation.violation(f"{step}: {event.type} of attempt {attempt} by a worker that did not claim it")
        completed[step] += event.type == "step_completed"
        if event.type == "step_rescued" and worker in simulation.workers.ended_in_order:
            simulation.violation(f"{step} was rescued from a worker that had ended in order")
        if step and completed[step] > 1:
            simulation.violation(f"{step} was completed {completed[step]} times")


def _doubts(events: dict[Any, list[Event]]) -> Counter[str]:
    doubts: Counter[str] = Counter()
    asked = [(event.job_id, event.seq) for told in events.values() for event in told if event.type == "tool_unknown"]
    for job_id, seq in asked:
        part = EventPart.objects.filter(job=job_id, seq=seq, name="error").first()
        message = str(part.value.get("message", "")) if part and isinstance(part.value, dict) else "its step ended"
        doubts[_cause(message)] += 1
    return doubts


def _cause(message: str) -> str:
    if "was lost during the call" in message:
        return "worker lost"
    return message.split(":")[0]
