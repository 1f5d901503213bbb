"""What becomes of calls, in the order of the events."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from tests.history.checker.history import Call, Event, Job
from tests.history.checker.progress import RUNNING, Progress
from tests.history.checker.violation import Violation

STARTED, RESERVED = "started", "reserved"
ARROWS: dict[str | None, frozenset[str]] = {
    None: frozenset({STARTED, RESERVED}),
    RESERVED: frozenset({STARTED, "cancelled"}),
    STARTED: frozenset({"committed", "refused", "unknown", "accepted"}),
    "accepted": frozenset({"committed", "failed", "unknown"}),
    "refused": frozenset({STARTED, "failed"}),
    "unknown": frozenset({"accepted", STARTED, "committed", "refused", "abandoned"}),
    "committed": frozenset({"compensated"}),
}
OPEN = (RESERVED, STARTED, "accepted", "unknown")
UNDOING = {"failed": ("on_failure", "always"), "cancelled": ("on_cancel", "always")}
OUTCOMES = ("tool_returned", "tool_failed", "tool_unknown", "model_returned", "tool_accepted")


class Ledger:
    def __init__(self, job: Job, progress: Progress) -> None:
        self.job, self._progress = job, progress
        self.states: dict[Call, str] = {}
        self.started_at: dict[Call, float] = {}
        """When it was started for the first time."""
        self.starts: Counter[Call] = Counter()
        self.fell_into_doubt: list[Event] = []
        """While it was being made."""
        self._starter: dict[Call, int | None] = {}
        self._settled: dict[Call, int] = {}

    def see(self, event: Event) -> Iterator[Violation]:
        if event.type == "step_completed":
            yield from self._completes(event)
        if event.type == "compensation_planned":
            yield from self._is_undone_backwards(event)
        if (call := event.call) is not None:
            yield from self._move(event, call)

    def _move(self, event: Event, call: Call) -> Iterator[Violation]:
        before, to = self.states.get(call), event.data["entry"]
        if event.type == "tool_polled" and before == to == "accepted":
            return
        if to not in ARROWS.get(before, ()):
            yield self.job.broken("entry_arrow", f"{_name(call)} goes from {before} to {to}", event)
        elif to == STARTED:
            yield from self._start(event, call)
        elif event.type in OUTCOMES and event.attempt not in (None, self._starter.get(call)):
            sentence = f"how {_name(call)} ended is told by attempt {event.attempt}, which did not start it"
            yield self.job.broken("evidence", sentence, event)
        if before == STARTED and to == "unknown":
            self.fell_into_doubt.append(event)
        self.states[call], self._settled[call] = to, event.seq

    def _start(self, event: Event, call: Call) -> Iterator[Violation]:
        now = self._progress.steps.get(call[0])
        if now is None or (now.state, now.attempt) != (RUNNING, event.attempt):
            yield self.job.broken(
                "intent", f"{_name(call)} is started by an attempt that does not run", event
            )
        entry = self.job.entries.get(call)
        if entry is not None and entry["key"] != event.data["idempotency_key"]:
            yield self.job.broken("key", f"{_name(call)} is started under another key than it has", event)
        self._starter[call] = event.attempt
        self.starts[call] += 1
        self.started_at.setdefault(call, event.at)

    def _completes(self, event: Event) -> Iterator[Violation]:
        for call, state in self.states.items():
            if call[0] == event.step and state in OPEN:
                yield self.job.broken(
                    "open_call", f"{event.step} completes though {_name(call)} is {state}", event
                )

    def _is_undone_backwards(self, event: Event) -> Iterator[Violation]:
        undone = {entry["undone_by"]: call for call, entry in self.job.entries.items() if entry["undone_by"]}
        calls = [undone[key] for key in event.data["steps"] if key in undone]
        places = [self._settled.get(call, 0) for call in calls]
        if places != sorted(places, reverse=True):
            yield self.job.broken("undo_order", f"calls settled at events {places} are undone so", event)

    def rest(self) -> Iterator[Violation]:
        """What the rows say at the end."""
        for call in self.states.keys() | self.job.entries.keys():
            row, told = self.job.entries.get(call), self.states.get(call)
            if row is None or row["state"] != told:
                sentence = f"{_name(call)} is {row and row['state']}, its events say {told}"
                yield self.job.broken("row_entry", sentence)
        yield from self._is_all_undone()

    def _is_all_undone(self) -> Iterator[Violation]:
        if self.job.row["compensate"] not in UNDOING.get(self.job.row["status"], ()):
            return
        for call, row in self.job.entries.items():
            step = self.job.steps.get(row["undone_by"] or "")
            is_given_up = step is not None and step["branch"] == "abandoned"
            if (
                row["compensates"]
                and row["state"] in ("committed", "unknown", "accepted")
                and not is_given_up
            ):
                yield self.job.broken("undone", f"{_name(call)} is {row['state']} and was to be undone")


def _name(call: Call) -> str:
    step, name, generation = call
    return f"call {name}#{generation} of {step}"
