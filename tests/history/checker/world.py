"""What the world and the clients know, held against the jobs. Sees every job of the run, one after another."""

from __future__ import annotations

from collections.abc import Iterator

from tests.history.checker.history import Call, Job, Row, Run, moment
from tests.history.checker.ledger import Ledger
from tests.history.checker.violation import Violation

HAPPENED = ("committed", "compensated")
NOTHING_HAPPENED = ("reserved", "refused", "cancelled")
OF_PROCESSES = frozenset({"process", "database", "network", "clock"})
"""Classes of faults after which a step may be taken from its worker."""
OF_CALLS = OF_PROCESSES | {"call"}
"""And those after which a call may be in doubt."""
DYING = 10.0
"""Seconds in which a transaction that a worker had sent before it was killed may still commit."""


class World:
    def __init__(self, run: Run) -> None:
        self.run = run
        self._jobs: set[str] = set()
        self._keys: dict[str, str] = {}
        self._children: dict[tuple[str, str], float | None] = {}
        self._completions: dict[tuple[str, str], tuple[int, float]] = {}
        classes = {fault["class"] for fault in run.faults}
        knows_faults = "faults" in run.knows
        self._is_calm = knows_faults and not classes & OF_PROCESSES
        self._calls_are_calm = knows_faults and not classes & OF_CALLS
        self._killed = {fault["worker"]: moment(fault["at"]) for fault in run.faults if fault.get("worker")}

    def see(self, job: Job, ledger: Ledger) -> Iterator[Violation]:
        self._jobs.add(job.id)
        yield from self._seen(job)
        yield from self._faults(job, ledger)
        for call, entry in job.entries.items():
            yield from self._call(job, ledger, call, entry)
        self._remember_subjobs(job)

    def _seen(self, job: Job) -> Iterator[Violation]:
        digests = {event.seq: event.row["digest"] for event in job.events}
        for told in self.run.seen.get(job.id, ()):
            if digests.get(told["seq"]) != told["digest"]:
                yield job.broken("event_lost", f"event {told['seq']} is not the one that a client has seen")

    def _faults(self, job: Job, ledger: Ledger) -> Iterator[Violation]:
        for event in job.events:
            if self._is_calm and event.type == "step_rescued":
                yield job.broken("rescue_without_fault", f"{event.step} was taken from its worker", event)
            killed_at = self._killed.get(event.said.get("worker"))
            if killed_at is not None and event.at > killed_at + DYING:
                yield job.broken("dead_worker", f"worker {event.said['worker']} was killed before", event)
        if self._calls_are_calm:
            for event in ledger.fell_into_doubt:
                yield job.broken(
                    "doubt_without_fault", f"{event.data['call']} of {event.step} is in doubt", event
                )

    def _call(self, job: Job, ledger: Ledger, call: Call, entry: Row) -> Iterator[Violation]:
        key = entry["key"]
        if self._keys.setdefault(key, job.id) != job.id or _count(job, key) > 1:
            yield job.broken("key", f"another call than {entry['call']} of {entry['step']} has its key, too")
        counts = self.run.tools.get(entry["name"])
        if "effects" not in self.run.knows or counts is None:
            return
        effects = self.run.effects.get(key, [])
        most = self._most(entry, counts, ledger.starts[call])
        name = f"{entry['name']} under key {key}"
        if len(effects) > most:
            yield job.broken("effect_twice", f"{name} happened {len(effects)} times, at most {most} may")
        may_be_told = self.run.truthful or entry["source"] == "call"
        if entry["state"] in HAPPENED and not effects and may_be_told:
            yield job.broken("effect_missing", f"{name} is {entry['state']} and did not happen")
        if entry["state"] in NOTHING_HAPPENED and effects and self.run.truthful:
            yield job.broken("effect_denied", f"{name} is {entry['state']} and happened")
        yield from self._intended(job, ledger, call, effects)

    def _most(self, entry: Row, counts: str, starts: int) -> int:
        """How often a call may have happened. Where the outside or people lie, each start may be an effect."""
        is_repeatable = entry["read_only"] or entry["idempotent"]
        if counts == "requests" and is_repeatable or not self.run.truthful:
            return starts
        return min(starts, 1)

    def _intended(self, job: Job, ledger: Ledger, call: Call, effects: list[Row]) -> Iterator[Violation]:
        started = ledger.started_at.get(call)
        times = [moment(effect["at"]) for effect in effects if effect.get("at")]
        if effects and started is None or times and min(times) < (started or 0):
            yield job.broken("effect_unintended", f"{call[1]} of {call[0]} happened before it was intended")

    def _remember_subjobs(self, job: Job) -> None:
        if parent := job.row["parent"]:
            ends = [
                event.at for event in job.events if event.type.startswith("job_") and event.type[4:] in ENDS
            ]
            self._children[parent["job"], parent["step"]] = min(ends, default=None)
        for event in job.events:
            if event.type == "step_completed" and job.steps.get(str(event.step), {}).get("kind") == "subjob":
                self._completions[job.id, str(event.step)] = event.seq, event.at

    def rest(self) -> Iterator[Violation]:
        """What no job of the run accounts for."""
        for job in self.run.submits.keys() - self._jobs:
            yield Violation("job_lost", "it was acknowledged and is not there", job)
        if "effects" in self.run.knows:
            for key in self.run.effects.keys() - self._keys.keys():
                yield Violation("effect_unintended", f"something happened under key {key}, which no call has")
        for (job, step), ended_at in self._children.items():
            seq, at = self._completions.get((job, step), (None, 0.0))
            if seq is not None and (ended_at is None or ended_at > at):
                yield Violation("subjob", f"{step} completes before its subjob has ended", job, seq)


ENDS = ("completed", "failed", "cancelled")


def _count(job: Job, key: str) -> int:
    return sum(entry["key"] == key for entry in job.entries.values())
