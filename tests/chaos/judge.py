"""What must be true after a run: asked of rows, events and the world outside. And how every doubt came about."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from runtime import doctor
from runtime.models import Event, Job, LedgerEntry, Worker
from runtime.states import JobStatus
from tests.chaos.faults import CLASSES, KILLS, Fault, Kind
from tests.chaos.ground import SHAPE
from tests.history import checker
from tests.history.export import Known, export

if TYPE_CHECKING:
    from tests.chaos.run import Chaos

NOT_REPEATABLE = ("witness.notify", "witness.payout", "witness.pay_undoably")
"""Tools that declare nothing: in doubt, a person decides."""
PATHS = {"witness.notify": "/messages", "witness.payout": "/payouts", "witness.pay_undoably": "/refunds"}
TOOLS = (*NOT_REPEATABLE, "witness.pay", "witness.notify_verified", "witness.pay_verified")
QUOTA = 0.02
"""Of the calls of tools that declare nothing, at most so many come to be in doubt,"""
ENOUGH_CALLS = 2000
"""which is asked of a run with so many; in a shorter one it is luck how many calls a kill meets."""


@dataclass
class Verdict:
    """Of one run. `str` is its one line."""

    name: str
    seed: int
    jobs: int
    faults: Counter[Kind]
    calls: int
    """Of tools that declare nothing."""
    doubts: Counter[str]
    """How many of those came to be in doubt, by cause."""
    recoveries: list[float]
    """Seconds from a kill to the next attempt, for each step that was lost by it."""
    seconds: float
    violations: list[str] = field(default_factory=list)
    ended: Counter[str] = field(default_factory=Counter)

    @property
    def doubtful(self) -> float:
        """The share of calls of tools that declare nothing that came to be in doubt."""
        return self.doubts.total() / max(self.calls, 1)

    def __str__(self) -> str:
        faults = ", ".join(f"{kind} {count}" for kind, count in sorted(self.faults.items()))
        doubts = ", ".join(f"{cause} {count}" for cause, count in sorted(self.doubts.items()))
        ended = ", ".join(f"{status} {count}" for status, count in sorted(self.ended.items()))
        p99 = sorted(self.recoveries)[int(len(self.recoveries) * 0.99)] if self.recoveries else 0.0
        return (
            f"{self.name}: seed {self.seed}; {self.jobs} jobs ({ended}); {self.faults.total()} faults ({faults}); "
            f"{len(self.violations)} violations; in doubt {self.doubts.total()} of {self.calls} calls ({doubts}); "
            f"recovery p99 {p99:.1f} s of {len(self.recoveries)}; {self.seconds:.0f} s"
        )


def of(chaos: Chaos, left: int, seconds: float) -> Verdict:
    jobs = _jobs(chaos)
    verdict = Verdict(
        name=chaos.name,
        seed=chaos.seed,
        jobs=len(jobs),
        faults=chaos.breaker.counted(),
        calls=0,
        doubts=Counter(),
        recoveries=list(_recoveries(list(jobs), chaos.breaker.done)),
        seconds=seconds,
        ended=Counter(str(job.status) for job in jobs.values()),
    )
    verdict.violations += [f"{left} jobs have not ended"] * bool(left)
    verdict.violations += chaos.people.failed[:5]
    verdict.violations += [f"{f.code} {f.job_id}: {f.message}" for f in doctor.examine(list(jobs))]
    verdict.violations += _wrong_ends(chaos, jobs)
    verdict.violations += _robbed(list(jobs), verdict.faults)
    with chaos.history.open("w") as file:
        export(file, known(chaos))
    with chaos.history.open() as lines:
        verdict.violations += map(str, checker.judge(lines))
    _explain(chaos, jobs, verdict)
    return verdict


def _jobs(chaos: Chaos) -> dict[UUID, Job]:
    """Those that were acknowledged, and their subjobs."""
    mine = Job.objects.filter(pk__in=chaos.submitted)
    return {job.pk: job for job in [*mine, *Job.objects.filter(parent_step__job__in=mine)]}


def _wrong_ends(chaos: Chaos, jobs: dict[UUID, Job]) -> Iterator[str]:
    for job_id, plan in chaos.submitted.items():
        wanted = JobStatus.CANCELLED if plan.shape == "undone" else JobStatus.COMPLETED
        job = jobs.get(job_id)
        if job is None:
            yield f"job {job_id} was acknowledged and is gone"
        elif job.is_finished and job.status != wanted:
            yield f"job {job.pk} ({plan.shape}) is {job.status}: {job.error}"


def _robbed(jobs: list[UUID], faults: Counter[Kind]) -> Iterator[str]:
    """Where nothing worse befell anybody than to be told to end, nothing is lost by it."""
    if faults.keys() <= {Kind.TERMINATE_WORKER}:
        for event in Event.objects.filter(job__in=jobs, type="step_rescued"):
            yield f"step {event.step} of job {event.job_id} was rescued, and no worker had been lost"


def known(chaos: Chaos) -> Known:
    """What we know of everything that has happened on this ground, for the checker of histories."""
    effects = chaos.ground.payments.effects.find()
    orders = {plan.order: job for job, plan in chaos.submitted.items()}
    return Known(
        at_rest=True,
        tools=dict.fromkeys(TOOLS, "effects"),
        effects=[{"key": each.key, "at": each.at} for each in effects if each.kind != "closed"],
        faults=list(_told_faults(chaos)),
        submits=list(chaos.submitted),
        signalled=[(orders[order], "go", order) for order in chaos.people.told],
    )


def _told_faults(chaos: Chaos) -> Iterator[dict[str, Any]]:
    kills = {fault.pid: fault for fault in chaos.breaker.done if fault.kind in KILLS}
    for worker, pid in _workers(kills):
        yield {"class": "process", "kind": kills[pid].kind, "at": _moment(kills[pid]), "worker": worker}
    for fault in chaos.breaker.done:
        yield {"class": CLASSES[fault.kind], "kind": fault.kind, "at": _moment(fault)}
    for plan in chaos.submitted.values():
        yield from ({"class": "call", "kind": fault["kind"]} for fault in plan.faults)


def _moment(fault: Fault) -> datetime:
    return datetime.fromtimestamp(fault.began, UTC)


def _recoveries(jobs: list[UUID], faults: list[Fault]) -> Iterator[float]:
    kills = {fault.pid: fault.began for fault in faults if fault.kind in KILLS}
    killed = {worker: kills[pid] for worker, pid in _workers(kills)}
    holder: dict[tuple[UUID, str | None], UUID | None] = {}
    lost: dict[tuple[UUID, str | None], float] = {}
    events = Event.objects.filter(job__in=jobs, type__in=("step_claimed", "step_rescued"))
    for job, step, type, worker, at in events.order_by("job", "seq").values_list(
        "job", "step", "type", "worker", "at"
    ):
        taken_from = holder.get((job, step))
        if type == "step_rescued" and taken_from in killed:
            lost[job, step] = killed[taken_from]
        elif type == "step_claimed":
            if (job, step) in lost:
                yield at.timestamp() - lost.pop((job, step))
            holder[job, step] = worker


def _workers(pids: Iterable[int]) -> Iterable[tuple[UUID, int]]:
    """The incarnations of processes."""
    return Worker.objects.filter(pid__in=list(pids)).values_list("pk", "pid")


def _explain(chaos: Chaos, jobs: dict[UUID, Job], verdict: Verdict) -> None:
    entries = LedgerEntry.objects.filter(job__in=list(jobs), name__in=NOT_REPEATABLE).select_related("step")
    verdict.calls = entries.count()
    told = _events_of_calls(list(jobs))
    by_fault: dict[int, int] = defaultdict(int)
    for entry in entries:
        events = told.get((entry.job_id, entry.step.key, entry.call), [])
        if not any(type == "tool_unknown" for type, _, _ in events):
            continue
        if of_the_call := _fault_of_the_call(chaos, jobs[entry.job_id], entry):
            verdict.doubts[f"call {of_the_call}"] += 1
        elif fault := _fault_around(chaos.breaker.done, events):
            verdict.doubts[str(fault.kind)] += 1
            by_fault[id(fault)] += 1
        else:
            verdict.doubts["unexplained"] += 1
            verdict.violations.append(f"call {entry} of job {entry.job_id} came to be in doubt for no reason")
    verdict.violations += more_than_in_flight((fault, by_fault[id(fault)]) for fault in chaos.breaker.done)
    if verdict.calls >= ENOUGH_CALLS and verdict.doubtful > QUOTA:
        verdict.violations.append(f"{verdict.doubtful:.1%} of the calls came to be in doubt")


def more_than_in_flight(doubts: Iterable[tuple[Fault, int]]) -> Iterator[str]:
    """Faults with more calls in doubt than they can explain."""
    for fault, count in doubts:
        if count > (most := _calls_in_flight(fault)):
            yield f"{fault.kind} of {fault.victim or 'all'}: {count} calls in doubt, and {most} at most were in flight"


def _calls_in_flight(fault: Fault) -> int:
    """So many at most when it struck: as many as whoever it struck has threads."""
    is_one = CLASSES[fault.kind] == "process"
    return SHAPE.concurrency if is_one else SHAPE.workers * SHAPE.concurrency + SHAPE.heavy


Told = list[tuple[str, UUID | None, datetime]]


def _events_of_calls(jobs: list[UUID]) -> dict[tuple[UUID, str | None, str], Told]:
    found: dict[tuple[UUID, str | None, str], Told] = defaultdict(list)
    for event in Event.objects.filter(job__in=jobs, type__in=("tool_called", "tool_unknown")).order_by(
        "job", "seq"
    ):
        found[event.job_id, event.step, event.data["call"]].append((event.type, event.worker, event.at))
    return found


def _fault_of_the_call(chaos: Chaos, job: Job, entry: LedgerEntry) -> object:
    order = str((job.input or {}).get("order"))
    faults = (fault for plan in chaos.submitted.values() if plan.order == order for fault in plan.faults)
    return next((fault["kind"] for fault in faults if fault["path"] == PATHS[entry.name]), None)


def _fault_around(faults: list[Fault], events: Told) -> Fault | None:
    """One of the process that made the call, or else of the connections that it told of it."""
    _, worker, called_at = next(event for event in events if event[0] == "tool_called")
    _, _, unknown_at = next(event for event in events if event[0] == "tool_unknown")
    called, unknown = called_at.timestamp(), unknown_at.timestamp()
    made_by = Worker.objects.filter(pk=worker or UUID(int=0)).values_list("pid", flat=True).first()
    before = [fault for fault in faults if fault.began <= unknown]
    for fault in before:
        is_its = CLASSES[fault.kind] == "process" and fault.pid == made_by
        if is_its and (fault.ended or fault.began) >= called - 2:
            return fault
    for fault in before:
        if CLASSES[fault.kind] != "process" and fault.began >= called - 5:
            return fault
    return None
