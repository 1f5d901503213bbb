"""Signals and timers: each acts once, on a step that waits for it, and not before its time."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

from tests.history.checker.history import Event, Job, Row, Run, moment
from tests.history.checker.progress import WAITING, Progress
from tests.history.checker.violation import Violation

FOR_SIGNALS = ("signal", "approval", "subjob")
MILLISECOND = 0.001
PATIENCE = 60.0
"""Seconds after which a timer that has not fired is lost."""


class Waits:
    def __init__(self, job: Job, run: Run, progress: Progress) -> None:
        self.job, self._run, self._progress = job, run, progress
        self._signals = {row["id"]: row for row in job.signals}
        self._consumed: Counter[int] = Counter()
        self._last: dict[str, int] = defaultdict(int)
        """Of each name, the last signal that was consumed."""
        self._received: set[str] = set()

    def see(self, event: Event) -> Iterator[Violation]:
        match event.type:
            case "timer_fired":
                yield from self._fire(event)
            case "signal_consumed":
                yield from self._consume(event)
            case "signal_received" | "approval_decided":
                self._received.add(event.row["digest"])

    def _fire(self, event: Event) -> Iterator[Violation]:
        now = self._progress.step(event)
        if now.state != WAITING or now.parked is None or now.is_fired:
            yield self.job.broken("timer_twice", f"{event.step} is {now.state}, its wait is over", event)
        elif (due := _due(now.parked)) is None or event.at < due - MILLISECOND:
            sentence = f"{event.step} is woken at {event.at:.3f}, its time is {due or 0:.3f}"
            yield self.job.broken("timer_early", sentence, event)

    def _consume(self, event: Event) -> Iterator[Violation]:
        number = event.data["signal"]
        self._consumed[number] += 1
        row, now = self._signals.get(number), self._progress.step(event)
        if row is None:
            yield self.job.broken("row_signal", f"there is no signal {number}", event)
            return
        if self._consumed[number] > 1:
            yield self.job.broken("signal_twice", f"signal {row['name']} is consumed again", event)
            return
        if now.state != WAITING or now.parked is None or now.parked.data["name"] != row["name"]:
            yield self.job.broken("signal_wait", f"{event.step} does not wait for {row['name']}", event)
        if number < self._last[row["name"]]:
            yield self.job.broken("signal_order", f"an older signal {row['name']} came before it", event)
        self._last[row["name"]] = max(number, self._last[row["name"]])

    def rest(self) -> Iterator[Violation]:
        yield from self._rows_of_signals()
        yield from self._acknowledged()
        waits = [row for row in self.job.waits if row["closed_at"] is None]
        for wait in waits:
            yield from self._is_bound(wait)
            if self._run.at_rest:
                yield from self._is_in_time(wait)

    def _rows_of_signals(self) -> Iterator[Violation]:
        for row in self.job.signals:
            is_consumed = row["state"] == "consumed"
            if is_consumed != bool(self._consumed[row["id"]]):
                sentence = (
                    f"signal {row['name']} is {row['state']}, consumed {self._consumed[row['id']]} times"
                )
                yield self.job.broken("row_signal", sentence)
        known = {row["digest"] for row in self.job.signals}
        for digest in self._received - known:
            yield self.job.broken("row_signal", f"a signal was received that is not in the inbox: {digest}")

    def _acknowledged(self) -> Iterator[Violation]:
        states = {row["dedup_id"]: row["state"] for row in self.job.signals}
        for told in self._run.signalled.get(self.job.id, ()):
            state = states.get(told["dedup_id"])
            if state not in ("consumed", "buffered"):
                sentence = f"signal {told['name']} ({told['dedup_id']}) was acknowledged and is {state}"
                yield self.job.broken("signal_lost", sentence)

    def _is_bound(self, wait: Row) -> Iterator[Violation]:
        is_over = wait["deadline_at"] and moment(wait["deadline_at"]) <= self._run.exported_at
        if wait["kind"] not in FOR_SIGNALS or is_over or self._progress.is_ending:
            return
        if any(row["state"] == "buffered" and row["name"] == wait["name"] for row in self.job.signals):
            yield self.job.broken(
                "signal_unbound", f"{wait['step']} waits for {wait['name']}, which is there"
            )

    def _is_in_time(self, wait: Row) -> Iterator[Violation]:
        due = wait["deadline_at"]
        if due and moment(due) + PATIENCE < self._run.exported_at and not self.job.row["paused_at"]:
            yield self.job.broken("timer_lost", f"the wait of {wait['step']} was over at {due}")


def _due(parked: Event) -> float | None:
    """When the time of a wait is over."""
    if "until" in parked.data:
        return moment(parked.data["until"])
    if "timeout_ms" in parked.data:
        return parked.at + int(parked.data["timeout_ms"]) / 1000
    return None
