"""A cancel ends a job from every state that it can be in, and what it did is undone where its graph says so."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from runtime import agents
from runtime.graph import Graph
from runtime.models import Job
from runtime.outcomes import Retry, Waiting
from runtime.states import JOB_FINISHED
from tests.agents_app.world import World, world
from tests.engine.driving import claim, statuses, step_of, submit, told
from tests.engine.driving import drive as drive_with
from tests.engine.scoped import body, mapping

Make = Callable[[Graph], Any]


def retried(graph: Graph) -> Any:
    world.doings["busy"] = lambda context: Retry({"type": "Busy"}, timedelta(hours=1))
    return graph.function("it", "do", what="busy")


def waiting_copies(graph: Graph) -> Any:
    inner = Graph()
    inner.tool("taken", "reserve", what="${item}") >> inner.wait("held", signal="go")
    return graph.map("it", "${[1, 2].map(n, 'item ' + string(n))}", inner, max_parallel=1)


def in_doubt(graph: Graph) -> Any:
    world.after["charge"].append(ConnectionResetError("lost"))
    return graph.tool("it", "charge")


STATES: dict[str, tuple[Make, str, list[str]]] = {
    "a signal": (lambda graph: graph.wait("it", signal="go"), "waiting", ["first"]),
    "an approval": (lambda graph: graph.approval("it", prompt="Go?"), "waiting", ["first"]),
    "a timer": (lambda graph: graph.timer("it", "1h"), "waiting", ["first"]),
    "a wait of its own": (
        lambda graph: graph.function("it", "do", what="wait"),
        "waiting",
        ["first"],
    ),
    "copies": (waiting_copies, "waiting", ["item 1", "first"]),
    "a subjob": (lambda graph: graph.subjob("it", "resting"), "waiting", ["first"]),
    "a person's word": (in_doubt, "waiting", ["first"]),
    "its next attempt": (retried, "ready", ["first"]),
    "another step": (lambda graph: graph.function("it", "say"), "blocked", ["first"]),
}


@pytest.fixture(autouse=True)
def an_agent_that_rests(outside: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agents, "_agents", dict(agents._agents))
    world.doings["wait"] = lambda context: Waiting("signal", "go")

    @agents.agent("resting")
    def resting() -> Graph:
        graph = Graph(compensate="on_cancel")
        graph.tool("below", "reserve", what="below") >> graph.wait("it", signal="go")
        return graph


def undone() -> list[str]:
    return [call.arguments["what"] for call in world.effects("release")]


def job_with(make: Make, *, pausing: bool = False) -> Job:
    graph = Graph(compensate="on_cancel")
    first = graph.tool("first", "reserve", what="first")
    before = graph.wait("before", signal="never") if pausing else first
    first >> make(graph) if not pausing else first >> before >> make(graph)
    return submit(graph)


@pytest.mark.parametrize("what", STATES)
def test_a_job_is_cancelled_while_it_waits_for(what, drive, outside):
    make, status, expected = STATES[what]
    job = drive(job_with(make, pausing=status == "blocked"))
    assert step_of(job, "it").status == status
    job.cancel(by="ada", why="enough")
    job.cancel(by="ada", why="enough")
    assert job.cancel_requested_at is not None
    job = drive(job)
    assert (job.status, statuses(job)["it"]) == ("cancelled", "cancelled")
    assert undone() == expected
    assert told(job)[-1] == "job_cancelled"
    assert told(job).count("operator_acted") == 1
    job.cancel()
    assert not job.waits.open().exists()


@pytest.mark.parametrize("what", STATES)
def test_a_paused_job_is_cancelled_while_it_waits_for(what, drive, outside):
    make, status, expected = STATES[what]
    job = drive(job_with(make, pausing=status == "blocked"))
    job.pause()
    job.cancel()
    job = drive(job)
    assert (job.status, job.paused_at, undone()) == ("cancelled", None, expected)


def test_a_job_that_has_not_begun_is_cancelled_and_nothing_is_undone(drive, outside):
    job = job_with(lambda graph: graph.function("it", "say"))
    job.cancel()
    assert (job.status, set(statuses(job).values()), undone()) == ("cancelled", {"cancelled"}, [])


def test_a_running_step_is_told_and_undone_after_it_has_ended(worker, other, outside):
    seen: list[tuple[bool, list[str]]] = []

    def go_on(context: Any) -> str:
        Job.objects.get(pk=context.step.job_id).cancel()
        worker.beat()
        drive_with(Job.objects.get(pk=context.step.job_id), other)
        seen.append((context.cancelled, undone()))
        return context.tool("reserve", what="late") if not context.cancelled else "stopped"

    world.doings["go on"] = go_on
    job = job_with(lambda graph: graph.function("it", "do", what="go on"))
    job = drive_with(job, worker)
    assert seen == [(True, [])]
    assert (job.status, statuses(job)["it"], undone()) == ("cancelled", "completed", ["first"])


def test_a_step_whose_worker_is_lost_ends_with_the_cancel(worker, drive, outside):
    job = job_with(lambda graph: graph.function("it", "say"))
    claim(job, worker, "first")
    job.cancel()
    assert job.status not in JOB_FINISHED
    step_of(job, "first").rescue()
    assert (drive(job).status, undone()) == ("cancelled", [])


def test_a_subjob_undoes_what_it_did_when_its_parent_is_cancelled(drive, outside):
    job = drive(job_with(STATES["a subjob"][0]))
    child = Job.objects.get(parent_step__job=job)
    assert drive(child).status == "waiting"
    job.cancel()
    assert (drive(job).status, drive(child).status) == ("cancelled", "cancelled")
    assert undone() == ["first", "below"]


def test_a_subjob_that_completed_keeps_what_it_did(drive, outside):
    graph = Graph(compensate="on_cancel")
    graph.subjob("it", "taking") >> graph.wait("after", signal="go")

    @agents.agent("taking")
    def taking() -> Graph:
        inner = Graph(compensate="always")
        inner.tool("below", "reserve", what="below")
        return inner

    job = drive(submit(graph))
    drive(Job.objects.get(parent_step__job=job))
    job = drive(job)
    job.cancel()
    assert (drive(job).status, undone()) == ("cancelled", [])


def test_steps_in_copies_that_have_not_begun_are_cancelled_too(drive, outside):
    job = drive(submit(mapping(body("do", what="wait"), max_parallel=1), [1, 2]))
    job.cancel()
    assert set(statuses(drive(job)).values()) == {"cancelled"}
