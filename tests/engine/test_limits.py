"""How large a job may grow, and how deep jobs may begin jobs: what goes too far fails where it does."""

from typing import Any

import pytest

from runtime import agents
from runtime.graph import Graph
from runtime.models import Job
from runtime.outcomes import Completed
from tests.engine.driving import doing, statuses, submit, why
from tests.engine.driving import drive as drive_with
from tests.engine.scoped import body, mapping


@pytest.fixture(autouse=True)
def small(settings: Any) -> None:
    settings.AETHERIS = {**settings.AETHERIS, "MAX_NODES": 12, "MAX_SUBJOB_DEPTH": 3}


def spawning(context: Any) -> Completed:
    graph = Graph()
    graph.function("next", "do", what="it")
    graph.function("beside", "say")
    return Completed(None, spawn=graph)


def test_steps_that_add_steps_end_at_the_limit(drive):
    job = drive(submit(doing(spawning)))
    assert (job.status, why(job)["type"]) == ("failed", "TooManySteps")
    assert "13 steps; the limit is 12" in why(job)["message"]
    assert (job.total_steps, job.steps.count()) == (11, 11)


def test_maps_within_maps_are_counted_together(drive):
    inner = Graph()
    inner.map("each", "${item}", body("say", value="${item}"))
    outer = Graph()
    outer.map("outer", "${input}", inner)
    job = drive(submit(outer, [[1, 2, 3], [1, 2, 3], [1, 2, 3]]))
    assert (job.status, job.steps.count() <= 12) == ("failed", True)
    assert "TooManySteps" in str(why(job))


def test_up_to_the_limit_all_is_well(drive):
    job = drive(submit(mapping(), list(range(11))))
    assert (job.status, job.total_steps) == ("completed", 12)


def test_an_agent_that_calls_itself_ends_at_the_limit(worker, monkeypatch):
    monkeypatch.setattr(agents, "_agents", dict(agents._agents))

    @agents.agent("ring")
    def ring() -> Graph:
        graph = Graph()
        graph.subjob("below", "ring")
        return graph

    top = Job.objects.submit("ring")
    for _ in range(6):
        for job in Job.objects.unfinished().order_by("-id"):
            drive_with(job, worker)
    top.refresh_from_db()
    assert top.status == "failed"
    assert sorted(Job.objects.values_list("depth", flat=True)) == [0, 1, 2, 3]
    deepest = Job.objects.get(depth=3)
    assert (why(deepest)["type"], statuses(deepest)) == ("TooDeep", {"below": "failed"})
