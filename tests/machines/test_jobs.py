"""Steps of any graph, claimed, ended, retried, rescued, parked, by attempts that are current and by stale ones."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from runtime.exceptions import StaleAttempt
from runtime.graph import Graph
from runtime.models import Job, Step
from runtime.outcomes import Waiting
from tests.engine.driving import statuses, step_of, submit
from tests.machines.machine import Machine, run

FINISHED = ("completed", "failed", "skipped", "cancelled")
ERROR = {"type": "E", "message": "no"}
MAX_ATTEMPTS = 3


class Model:
    """What the steps of a job are, worked out from the edges each time: nothing is counted."""

    def __init__(self, edges: dict[str, dict[str, str]], joins: dict[str, str]) -> None:
        self.edges, self.joins = edges, joins
        self.status = dict.fromkeys(edges, "blocked")
        self.attempt = dict.fromkeys(edges, 0)
        self.failures = dict.fromkeys(edges, 0)
        self.waiting: list[str] = []
        self.inbox = 0
        self.ending: str | None = None
        self.paused = False
        for key in edges:
            if not edges[key]:
                self.status[key] = "ready"

    @property
    def is_over(self) -> bool:
        return all(status in FINISHED for status in self.status.values())

    def handles_failure(self, key: str) -> bool:
        return any(parents.get(key) == "failed" for parents in self.edges.values())

    def end(self, key: str, status: str) -> None:
        self.status[key] = status
        if status == "failed" and not self.handles_failure(key):
            self.ending = self.ending or "failed"

    def settle(self) -> None:
        while self.inbox and self.waiting and not self.ending:
            self.inbox -= 1
            self.status[self.waiting.pop(0)] = "ready"
        for key in self.edges:  # parents stand before their children
            if self.status[key] == "blocked":
                self._decide(key)
        if self.ending:
            self.waiting.clear()
            for key, status in self.status.items():
                if status in ("blocked", "ready", "waiting"):
                    self.status[key] = "cancelled"

    def _decide(self, key: str) -> None:
        decided = [self._is_taken(parent, when) for parent, when in self.edges[key].items()]
        taken, pending = decided.count(True), decided.count(None)
        if self.joins[key] == "any":
            released, dead = taken > 0, taken + pending == 0
        else:
            released, dead = pending == 0 and taken > 0, pending == 0 and taken == 0
        if released or dead:
            self.status[key] = "ready" if released else "skipped"

    def _is_taken(self, parent: str, when: str) -> bool | None:
        """None while it is undecided, which it stays for ever where a failure or a cancel ended the job."""
        match self.status[parent]:
            case "completed":
                return when == "ok"
            case "failed" if self.handles_failure(parent):
                return when == "failed"
            case "skipped":
                return False
        return None


class Jobs(Machine):
    @initialize(data=st.data(), size=st.integers(1, 5))
    def begin(self, data: Any, size: int) -> None:
        graph = Graph()
        nodes: list[str] = []
        edges: dict[str, dict[str, str]] = {}
        joins = {}
        for number in range(size):
            key = f"n{number}"
            parents = data.draw(st.lists(st.sampled_from(nodes), unique=True, max_size=3)) if nodes else []
            joins[key] = data.draw(st.sampled_from(["all", "any"])) if parents else "all"
            retry = {"max_attempts": MAX_ATTEMPTS}
            node = graph.function(key, "say", join=joins[key], retry=retry)
            edges[key] = {}
            for parent in parents:
                when = data.draw(st.sampled_from(["ok", "ok", "ok", "failed"]))
                edges[key][parent] = when
                handle = graph.handle(parent)
                (handle.failed if when == "failed" else handle) >> node
            nodes.append(key)
        self.model = Model(edges, joins)
        self.job = submit(graph)
        self.held: list[Step] = []

    def any_of(self, data: Any, *status: str) -> str | None:
        fitting = [key for key, now in self.model.status.items() if now in status]
        return data.draw(st.sampled_from(fitting)) if fitting else None

    @rule(data=st.data())
    def claim(self, data: Any) -> None:
        if (key := self.any_of(data, "ready", "ready", "running", "blocked")) is None:
            return
        step = step_of(self.job, key)
        if self.model.status[key] != "ready" or self.model.paused or self.model.ending:
            with pytest.raises(StaleAttempt):
                step.claim(self.worker.id)
            return
        step.claim(self.worker.id)
        self.held.append(step)
        self.model.status[key] = "running"
        self.model.attempt[key] += 1

    @precondition(lambda self: self.held)
    @rule(data=st.data(), verb=st.sampled_from(["complete", "complete", "fail", "retry", "rescue", "park"]))
    def move(self, data: Any, verb: str) -> None:
        """By whoever has claimed the step once, and perhaps lost it since."""
        step = data.draw(st.sampled_from(self.held))
        arguments: dict[str, list[Any]] = {
            "fail": [ERROR], "retry": [ERROR], "park": [Waiting("signal", "go")],
        }  # fmt: skip
        is_current = self.model.status[step.key] == "running" and self.model.attempt[step.key] == step.attempt
        if not is_current:
            with pytest.raises(StaleAttempt):
                getattr(step, verb)(*arguments.get(verb, []))
            return
        getattr(step, verb)(*arguments.get(verb, []))
        self.moved(step.key, verb)

    def moved(self, key: str, verb: str) -> None:
        model = self.model
        if verb in ("fail", "retry", "rescue"):
            model.failures[key] += 1
        if verb == "complete":
            model.end(key, "completed")
        elif verb == "fail" or (verb == "rescue" and model.failures[key] >= MAX_ATTEMPTS):
            model.end(key, "failed")
        elif verb == "park":
            model.status[key] = "waiting"
            model.waiting.append(key)
        else:
            model.status[key] = "cancelled" if model.ending else "ready"
        model.settle()

    @precondition(lambda self: not self.model.is_over and not self.model.ending)
    @rule()
    def signal(self) -> None:
        assert self.job.signal("go")
        self.model.inbox += 1
        self.model.settle()

    @precondition(lambda self: not self.model.is_over)
    @rule()
    def cancel(self) -> None:
        self.job.cancel()
        self.model.ending = self.model.ending or "cancelled"
        self.model.settle()

    @precondition(lambda self: not self.model.is_over)
    @rule(paused=st.booleans())
    def pause_or_resume(self, paused: bool) -> None:
        self.job.pause() if paused else self.job.resume()
        self.model.paused = paused

    def look(self) -> None:
        assert statuses(self.job) == self.model.status
        rows = dict(self.job.steps.values_list("key", "attempt"))
        assert rows == self.model.attempt
        job = Job.objects.get(pk=self.job.pk)
        assert job.is_finished == self.model.is_over
        if self.model.is_over:
            assert job.status == (self.model.ending or "completed")


def test_jobs_are_what_their_edges_say():
    run(Jobs)
