"""Jobs that grow and begin again: plans, maps, spawned steps, retries of what failed, forks of what was."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from runtime import forks
from runtime.exceptions import Permanent, RetryRefused
from runtime.graph import Graph
from runtime.models import Job, Step
from runtime.outcomes import Completed
from tests.agents_app.world import world
from tests.engine.driving import run_once, submit
from tests.engine.scoped import run_alone
from tests.machines.machine import Machine, run

PARTS = ("first", "planned", "mapped", "spawned")
WHOLE = {"a", "p", "p.x", "p.y", "m", *(f"m[{n}].it" for n in range(3)), "s", "s.z", "end"}
"""Every step that a job has by its end. A fork that took a step over has its result, and not its parts."""


class Growth(Machine):
    """The model: what completed stays as it is, runs once in its job, and a job that completes has all its steps."""

    @initialize()
    def begin(self) -> None:
        self.bad: set[str] = set()
        self.done: dict[Any, dict[str, Any]] = {}
        self.whole: dict[Any, set[str]] = {}
        world.doings.update({"work": self.work, "plan": self.plan, "spawn": self.spawn})
        self.added(submit(self.graph()))

    def graph(self) -> Graph:
        graph, inner = Graph(), Graph()
        inner.function("it", "do", what="work", part="mapped", value="${item}")
        a = graph.function("a", "do", what="work", part="first")
        p = graph.plan("p", "do", what="plan")
        m = graph.map("m", [1, 2, 3], inner, max_parallel=2)
        s = graph.function("s", "do", what="spawn")
        a >> [p, m, s]
        [p, m, s] >> graph.function("end", "say", value="end")
        return graph

    def work(self, context: Any, part: str, value: Any = None) -> Any:
        if part in self.bad:
            raise Permanent(f"{part} is bad")
        return [part, value, context.random()]

    def plan(self, context: Any) -> Graph:
        graph = Graph()
        x = graph.function("x", "do", what="work", part="planned")
        x >> graph.function("y", "say", value="y")
        return graph

    def spawn(self, context: Any) -> Completed:
        graph = Graph()
        graph.function("z", "do", what="work", part="spawned")
        return Completed("s", spawn=graph)

    def added(self, job: Job, taken_over: Collection[str] = ()) -> None:
        self.done[job.pk] = {}
        self.whole[job.pk] = {key for key in WHOLE if not _is_part_of(key, taken_over)}

    def any_job(self, data: Any) -> Job:
        return Job.objects.get(pk=data.draw(st.sampled_from(list(self.done))))

    @rule(data=st.data(), all_of_it=st.booleans())
    def run_some(self, data: Any, all_of_it: bool) -> None:
        job = self.any_job(data)
        if ready := list(Step.objects.filter(job=job).ready().order_by("pk").values_list("key", flat=True)):
            key = data.draw(st.sampled_from(ready))
            run_once(job, self.worker, key) if all_of_it else run_alone(job, self.worker, key)

    @rule(part=st.sampled_from(PARTS))
    def break_or_mend(self, part: str) -> None:
        self.bad ^= {part}

    @rule(data=st.data())
    def retry(self, data: Any) -> None:
        job = self.any_job(data)
        if job.status != "failed":
            with pytest.raises(RetryRefused):
                job.retry()
            return
        job.retry()
        job.refresh_from_db()
        assert not job.is_finished

    @precondition(lambda self: len(self.done) < 3)
    @rule(data=st.data(), key=st.sampled_from(["a", "p", "m", "s", "end"]))
    def fork(self, data: Any, key: str) -> None:
        origin = self.any_job(data)
        before = (origin.seq, bytes(origin.head))
        taken_over = forks.plan(origin, key).copied
        self.added(origin.fork(key), taken_over)
        origin.refresh_from_db()
        assert (origin.seq, bytes(origin.head)) == before

    @rule(data=st.data(), sure=st.integers(0, 5))
    def cancel(self, data: Any, sure: int) -> None:
        job = self.any_job(data)
        if sure == 0 and not job.is_finished:  # seldom
            job.cancel()

    def look(self) -> None:
        for job in Job.objects.filter(pk__in=self.done):
            self.looked_at(job)

    def looked_at(self, job: Job) -> None:
        completed = dict(job.steps.filter(status="completed").values_list("key", "result"))
        for key, result in self.done[job.pk].items():
            assert completed.get(key) == result, f"{key} completed before"
        self.done[job.pk] = completed
        told = list(job.events.filter(type="step_completed").values_list("step", flat=True))
        assert len(told) == len(set(told)) and set(told) <= set(completed)
        if job.status == "completed":
            assert set(completed) == self.whole[job.pk]


def _is_part_of(key: str, steps: Collection[str]) -> bool:
    return any(key.startswith((f"{step}.", f"{step}[")) for step in steps)


def test_what_completed_stays_and_what_grows_grows_once():
    run(Growth)
