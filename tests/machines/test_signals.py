"""Signals of two names, in any order with the waits for them, twice, beside deadlines, sweeps and a cancel."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from runtime import recovery
from runtime.exceptions import JobFinished
from runtime.graph import Graph
from runtime.models import Job
from tests.engine.driving import statuses, step_of, submit
from tests.engine.scoped import run_alone
from tests.machines.machine import Machine, run

NAMES = ("red", "blue")
MINUTES = 10


@dataclass
class Waiting:
    """A step that waits: for what, since when in the order of waits, and for how long."""

    key: str
    name: str
    left: int | None


@dataclass
class Inbox:
    waits: list[Waiting] = field(default_factory=list)
    buffered: dict[str, list[int]] = field(default_factory=lambda: {name: [] for name in NAMES})
    seen: set[str] = field(default_factory=set)
    woken: dict[str, Any] = field(default_factory=dict)
    """What each step was woken by: the number of a signal, or that its time was over."""

    def match(self) -> None:
        for wait in list(self.waits):
            if self.buffered[wait.name] and (wait.left is None or wait.left > 0):
                self.woken[wait.key] = self.buffered[wait.name].pop(0)
                self.waits.remove(wait)


class Signals(Machine):
    @initialize(names=st.lists(st.sampled_from(NAMES), min_size=1, max_size=4), data=st.data())
    def begin(self, names: list[str], data: Any) -> None:
        graph = Graph()
        self.name, self.timeout = {}, {}
        for number, name in enumerate(names):
            key = f"w{number}"
            self.name[key] = name
            self.timeout[key] = data.draw(st.sampled_from([None, MINUTES]))
            keys = {"timeout": f"{MINUTES}m", "on_timeout": {"value": "late"}} if self.timeout[key] else {}
            graph.wait(key, signal=name, **keys)
        self.job = submit(graph)
        self.model, self.ended, self.sent, self.results = Inbox(), False, 0, dict[str, Any]()
        self.status = dict.fromkeys(self.name, "ready")

    @property
    def is_over(self) -> bool:
        return self.ended or set(self.status.values()) == {"completed"}

    @precondition(lambda self: "ready" in self.status.values())
    @rule(data=st.data())
    def run_step(self, data: Any) -> None:
        """Either it begins to wait, or it says what woke it."""
        key = data.draw(st.sampled_from([key for key, now in self.status.items() if now == "ready"]))
        run_alone(self.job, self.worker, key)
        if key in self.model.woken:
            self.status[key] = "completed"
            self.results[key] = self.model.woken[key]
        else:
            self.status[key] = "waiting"
            self.model.waits.append(Waiting(key, self.name[key], self.timeout[key]))
        self.matched()

    @rule(name=st.sampled_from(NAMES), id=st.sampled_from(["a", "b", "c", None]))
    def signal(self, name: str, id: str | None) -> None:
        self.sent += 1
        if self.is_over:
            with pytest.raises(JobFinished):
                self.job.signal(name, self.sent, dedup_id=f"late {self.sent}")
            return
        is_new = id is None or id not in self.model.seen
        assert self.job.signal(name, self.sent, dedup_id=id) is is_new
        if is_new:
            self.model.seen.add(id or "")
            self.model.buffered[name].append(self.sent)
            self.matched()

    @rule(minutes=st.sampled_from([1, MINUTES + 1]), swept=st.booleans())
    def pass_time(self, minutes: int, swept: bool) -> None:
        self.forward(minutes=minutes)
        for wait in self.model.waits:
            wait.left = None if wait.left is None else wait.left - minutes
        if swept:
            late = [wait for wait in self.model.waits if wait.left is not None and wait.left <= 0]
            assert recovery.wake_due() == len(late)
            for wait in late:
                self.model.waits.remove(wait)
                self.model.woken[wait.key] = "late"
            self.matched()

    @precondition(lambda self: not self.is_over)
    @rule(sure=st.integers(0, 5))
    def cancel(self, sure: int) -> None:
        if sure:
            return  # seldom
        self.job.cancel()
        self.ended = True
        self.model.waits.clear()
        for key, now in self.status.items():
            self.status[key] = "completed" if now == "completed" else "cancelled"

    def matched(self) -> None:
        self.model.match()
        for key in self.model.woken:
            if self.status[key] == "waiting":
                self.status[key] = "ready"

    def look(self) -> None:
        assert statuses(self.job) == self.status
        for key, result in self.results.items():
            assert step_of(self.job, key).result == result
        buffered = self.job.signals.filter(state="buffered").order_by("id")
        for name in NAMES:
            assert (
                list(buffered.filter(name=name).values_list("payload", flat=True))
                == self.model.buffered[name]
            )
        assert Job.objects.get(pk=self.job.pk).is_finished == self.is_over


def test_each_signal_acts_once_on_the_oldest_wait_of_its_name():
    run(Signals)
