"""What differs: between two moments of one job, or between two jobs, such as a fork and its origin."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from runtime import blobs
from runtime.chain import canonical
from runtime.exceptions import InputInvalid
from runtime.fold import JobState
from runtime.models import EventPart, Job
from runtime.snapshots import state_at

Pair = list[Any]
"""What it was, and what it is; None where there was none."""


@dataclass(frozen=True)
class Diff:
    """Everything that is not the same, by name: a `Pair` for each. `results` and `calls` are payloads."""

    job: dict[str, Pair]
    steps: dict[str, dict[str, Pair]]
    """Step → field → pair. A step that one side has not is told by all its fields."""
    ledger: dict[str, Pair]
    """`step.call#generation` → pair of states."""
    results: dict[str, Pair]
    calls: dict[str, dict[str, Pair]]
    """Between two jobs: `step.call#generation` → arguments and result, where they differ."""

    @property
    def is_empty(self) -> bool:
        return not (self.job or self.steps or self.ledger or self.results or self.calls)

    def as_json(self, *, payloads: bool = True) -> dict[str, Any]:
        told: dict[str, Any] = {"job": self.job, "steps": self.steps, "ledger": self.ledger}
        return told | ({"results": self.results, "calls": self.calls} if payloads else {})


def between(job: Job, before: int, after: int, *, payloads: bool = True) -> Diff:
    """The states after two events of a job; 0 is before the first. Raises `InputInvalid` for an event that is not."""
    for path, seq in (("from", before), ("to", after)):
        if not 0 <= seq <= job.seq:
            raise InputInvalid(path, f"job {job.pk} has the events 1 to {job.seq}, not {seq}")
    # A step completes once, so what it answered is there on one side only.
    came = _results(job, *sorted((before, after))) if payloads else {}
    results = _differing({}, came) if before <= after else _differing(came, {})
    return _diff(state_at(job, before), state_at(job, after), results, {})


def of_jobs(one: Job, other: Job, *, payloads: bool = True) -> Diff:
    """Two jobs, each after its last event."""
    if not payloads:
        return _diff(state_at(one), state_at(other), {}, {})
    results = _differing(_results(one, 0, one.seq), _results(other, 0, other.seq))
    return _diff(state_at(one), state_at(other), results, _differing_calls(one, other))


def _diff(
    one: JobState, other: JobState, results: dict[str, Pair], calls: dict[str, dict[str, Pair]]
) -> Diff:
    was, now = one.as_json(), other.as_json()
    fields = ("status", "paused", "ending_as")
    steps = {
        key: pairs
        for key in was["steps"] | now["steps"]
        if (pairs := _differing(was["steps"].get(key, {}), now["steps"].get(key, {})))
    }
    return Diff(
        _differing({name: was[name] for name in fields}, {name: now[name] for name in fields}),
        steps,
        _differing(was["ledger"], now["ledger"]),
        results,
        calls,
    )


def _differing(was: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Pair]:
    return {
        name: [was.get(name), now.get(name)]
        for name in {**was, **now}
        if canonical(was.get(name)) != canonical(now.get(name))
    }


def _results(job: Job, after: int, to: int) -> dict[str, Any]:
    """Step → result, of the steps that completed in between: of a fork also what it took over as it began."""
    events = job.events.filter(type="step_completed", seq__gt=after, seq__lte=to)
    keys = dict(events.values_list("seq", "step"))
    parts = EventPart.objects.filter(job=job, name="output", seq__in=keys).values_list("seq", "value")
    copied = job.steps.filter(status="completed", attempt=0).values_list("key", "result")
    taken_over = dict(copied) if after == 0 < to else {}
    return blobs.all_whole(job.tenant, taken_over | {str(keys[number]): value for number, value in parts})


def _differing_calls(one: Job, other: Job) -> dict[str, dict[str, Pair]]:
    was, now = _calls(one), _calls(other)
    found = {key: _differing(was[key], now[key]) for key in was if key in now}
    return {key: pairs for key, pairs in found.items() if pairs}


def _calls(job: Job) -> dict[str, dict[str, Any]]:
    rows = job.ledger.values_list("step__key", "call", "generation", "arguments", "result")
    return {
        f"{key}.{call}#{generation}": blobs.all_whole(job.tenant, {"arguments": arguments, "result": result})
        for key, call, generation, arguments, result in rows
    }
