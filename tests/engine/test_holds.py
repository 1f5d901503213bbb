"""Letting an agent or a queue rest: running steps finish, nothing is claimed, and all of it goes on afterwards."""

import pytest

from runtime import hinting, holds, recovery
from runtime.exceptions import AgentNotFound, InputInvalid, NotHeld
from runtime.execution import run_step
from runtime.graph import Graph
from runtime.models import Hold, Job, Step
from runtime.models.hold import HoldKind
from tests.engine.driving import claim, doing, run_once, statuses, step_of, submit

AGENT, QUEUE = HoldKind.AGENT, HoldKind.QUEUE


def line(**keys):
    graph = Graph()
    graph.function("a", "say", **keys) >> graph.function("b", "say", value="end", **keys)
    return graph


@pytest.mark.parametrize("kind, name", [(AGENT, "graph"), (QUEUE, "default")])
def test_nothing_of_what_rests_is_claimed_until_it_goes_on(kind, name, drive, worker):
    job = submit(line())
    holds.begin(kind, name, by="ops", why="the service is down")
    assert run_step(step_of(job, "a").pk, worker) == 0
    assert statuses(drive(job)) == {"a": "ready", "b": "blocked"}
    holds.end(kind, name, by="ops", why="it is back")
    assert (drive(job).status, job.result) == ("completed", "end")


@pytest.mark.parametrize("kind, name", [(AGENT, "graph"), (QUEUE, "default")])
def test_a_running_step_finishes_and_what_follows_it_rests(kind, name, drive, worker):
    job = submit(line())
    running = claim(job, worker, "a")
    holds.begin(kind, name)
    running.complete(1)
    assert statuses(job) == {"a": "completed", "b": "ready"}
    assert drive(job).status == "running"
    holds.end(kind, name)
    assert drive(job).status == "completed"


def test_what_began_to_rest_while_a_step_ran_does_not_follow_it(worker):
    def function(context):
        holds.begin(QUEUE, "default")
        return 1

    graph = doing(function, id="a")
    graph.handle("a") >> graph.function("b", "say")
    job = submit(graph)
    run_once(job, worker, "a")
    assert statuses(job) == {"a": "completed", "b": "ready"}


def test_a_worker_that_goes_on_with_a_job_leaves_the_steps_of_a_queue_that_rests(drive):
    graph = Graph()
    first = graph.function("first", "say")
    first >> graph.function("slow", "say", queue="background")
    first >> graph.function("quick", "say")
    holds.begin(QUEUE, "background")
    job = drive(submit(graph))
    assert statuses(job) == {"first": "completed", "slow": "ready", "quick": "completed"}
    holds.end(QUEUE, "background")
    assert drive(job).status == "completed"


def test_others_go_on_meanwhile(drive):
    holds.begin(AGENT, "echo")
    holds.begin(QUEUE, "background")
    holds.begin(AGENT, "graph", tenant="other")
    assert drive(submit(line())).status == "completed"
    assert drive(Job.objects.submit("echo", {})).status == "pending"
    holds.end(AGENT, "echo")


def test_signals_match_and_timers_fire_while_an_agent_rests(drive, clock):
    graph = Graph()
    [graph.wait("w", signal="go"), graph.timer("t", "1h")] >> graph.function("end", "say", value="${w}")
    job = drive(submit(graph))
    holds.begin(AGENT, "graph")
    job.signal("go", 7)
    clock.forward(hours=2)
    assert recovery.wake_due() == 1
    assert statuses(drive(job)) == {"w": "ready", "t": "ready", "end": "blocked"}
    holds.end(AGENT, "graph")
    assert drive(job).result == 7


def test_an_agent_that_rests_still_takes_jobs_and_lets_them_be_cancelled(drive):
    holds.begin(AGENT, "echo")
    job = drive(Job.objects.submit("echo", {}))
    assert job.status == "pending"
    job.cancel()
    assert job.status == "cancelled"


def test_the_sweeper_does_not_announce_what_rests(clock):
    submit(line())
    submit(line(queue="background"))
    clock.forward(minutes=5)
    assert len(hinting.unclaimed(hinting.groups()).wanted) == 2
    holds.begin(QUEUE, "background")
    assert len(hinting.unclaimed(hinting.groups()).wanted) == 1
    holds.begin(AGENT, "graph")
    assert len(hinting.unclaimed(hinting.groups()).wanted) == 0
    holds.end(AGENT, "graph")
    assert len(hinting.unclaimed(hinting.groups()).wanted) == 1


def test_when_a_rest_ends_its_steps_are_announced_at_once(monkeypatch):
    job, told = submit(line()), []
    holds.begin(AGENT, "graph")
    monkeypatch.setattr("runtime.dispatch.hint", lambda hints: told.extend(hints))
    holds.end(AGENT, "graph")
    assert told == [(step_of(job, "a").pk, "default")]


def test_an_agent_whose_queue_rests_too_is_not_announced(monkeypatch):
    submit(line())
    holds.begin(AGENT, "graph")
    holds.begin(QUEUE, "default")
    told = []
    monkeypatch.setattr("runtime.dispatch.hint", lambda hints: told.extend(hints))
    holds.end(AGENT, "graph")
    assert told == []


def test_a_rest_tells_who_began_it_who_ended_it_and_why():
    holds.begin(AGENT, "echo", by="ada", why="audit")
    held = holds.end(AGENT, "echo", by="bob", why="done")
    assert (held.by, held.why, held.released_by, held.released_why) == ("ada", "audit", "bob", "done")
    assert held.released_at is not None and held.held_at <= held.released_at
    holds.begin(AGENT, "echo", by="ada", why="once more")
    assert [row.why for row in Hold.objects.all()] == ["once more", "audit"]


def test_resting_twice_is_resting_once(pair):
    first, second = pair.at_once(*[lambda: holds.begin(AGENT, "echo")] * 2)
    assert first == second
    assert Hold.objects.active().count() == 1
    holds.end(AGENT, "echo")
    with pytest.raises(NotHeld, match="echo"):
        holds.end(AGENT, "echo")


def test_a_name_with_a_slip_in_it_is_refused():
    with pytest.raises(AgentNotFound, match="ehco"):
        holds.begin(AGENT, "ehco")
    with pytest.raises(InputInvalid, match="realtime, default, background, heavy"):
        holds.begin(QUEUE, "defualt")


def test_an_agent_that_is_registered_no_more_can_rest_while_it_has_jobs():
    job = submit(line())
    Job.objects.filter(pk=job.pk).update(agent="gone")
    assert holds.begin(AGENT, "gone").name == "gone"


def test_a_step_that_is_retried_rests(drive, worker):
    job = submit(line())
    running = claim(job, worker, "a")
    holds.begin(AGENT, "graph")
    running.rescue()
    assert run_once(job, worker, "a").status == "ready"
    assert not Step.objects.ready().exists()
    holds.end(AGENT, "graph")
    assert drive(job).status == "completed"
