"""Code that changes under running jobs: several versions at once, holding, warning, and markers."""

from typing import Any

import pytest

from runtime import agents, code, doctor, recovery, replays
from runtime.exceptions import InputInvalid
from runtime.execution import run_step
from runtime.graph import Graph
from runtime.models import Job, Step
from runtime.outcomes import Waiting
from tests.agents_app.world import world
from tests.engine.driving import run_once, step_of, submit, told


@pytest.fixture(autouse=True)
def deployments():
    """What a test deploys is gone after it."""
    registries: list[Any] = [agents._agents, agents._versions, agents._functions]
    kept = [dict(registry) for registry in registries]
    code.changed_in_process.clear()
    yield
    for registry, before in zip(registries, kept, strict=True):
        registry.clear()
        registry.update(before)


@pytest.fixture
def policy(settings):
    def choose(name):
        settings.AETHERIS = {**settings.AETHERIS, "ON_CODE_CHANGE": name}

    return choose


def deploy(function):
    """From now on this process has this code under the name `priced`."""
    agents.step(name="priced")(function)


def old(context, value=None):
    return ["old", value]


def new(context, value=None):
    return ["new", value]


def priced(signal=False):
    graph = Graph()
    step = graph.function("it", "priced", value="${input}")
    if signal:
        graph.wait("go", signal="go") >> step
    return graph


def described(context, value=None):
    """Says it."""

    return ["old", value]  # quickly


def test_a_digest_is_of_what_a_function_does(monkeypatch):
    assert code.digest(old) != code.digest(new)
    assert code.digest(old) == code.digest(old)
    monkeypatch.setattr(described, "__qualname__", "old")
    assert code.digest(described) == code.digest(old)


def helper():
    return 1


def test_a_helper_of_the_same_package_is_part_of_a_function(monkeypatch):
    def leads(context):
        return helper()

    before = code.digest(leads)
    monkeypatch.setitem(globals(), "helper", new)
    assert code.digest(leads) != before


def test_a_job_keeps_the_digests_of_the_functions_it_began_with(drive):
    deploy(old)
    inner = Graph()
    inner.function("one", "say")
    graph = priced()
    graph.map("each", [1], inner)
    job = submit(graph)
    assert job.code == {"priced": code.digest(old), "say": code.digest_here("say")}
    submitted = job.events.get(type="job_submitted").data
    assert submitted["code"][0] == f"priced@{code.digest(old)}"
    drive(job)


def test_blocked_a_step_waits_for_the_code_that_its_job_began_with(drive, policy, clock):
    policy("block")
    deploy(old)
    job = submit(priced(), 7)
    deploy(new)

    assert drive(job).status == "waiting"
    step = step_of(job)
    assert step.waiting_for == f"code:priced@{code.digest(old)}"
    wait = job.waits.get()
    assert "manage.py adopt" in wait.prompt
    assert (step.failures, code.changed_in_process["block"]) == (0, 1)

    clock.forward(minutes=1)
    assert recovery.wake_due() == 1
    assert drive(job).status == "waiting"  # still the wrong worker

    deploy(old)  # and now the right one looks
    clock.forward(minutes=1)
    recovery.wake_due()
    assert drive(job).result == ["old", 7]
    assert replays.verify(job).is_good


def test_blocked_also_where_a_worker_has_no_such_function(drive, policy):
    policy("block")
    deploy(old)
    job = submit(priced())
    del agents._functions["priced"]
    assert drive(job).status == "waiting"
    assert "has none of that name" in job.waits.get().prompt
    deploy(old)
    job.adopt()
    assert drive(job).status == "completed"


def test_an_operator_lets_a_job_go_on_with_the_new_code(drive, policy):
    policy("block")
    deploy(old)
    job = drive(submit(priced(signal=True), 7))
    deploy(new)
    job.signal("go")
    assert drive(job).status == "waiting"

    job.adopt(by="ada", why="looked at it")

    assert job.code["priced"] == code.digest(new)
    assert drive(job).result == ["new", 7]
    acted = job.events.get(type="operator_acted")
    assert acted.data["verb"] == "adopt"
    assert f"priced@{code.digest(new)}" in acted.data["code"]


def test_what_had_woken_a_step_is_kept_while_it_is_held(drive, policy, clock):
    def asks(context, value=None):
        return Waiting("signal", "go") if context.resume is None else context.resume["payload"]

    policy("block")
    deploy(asks)
    job = drive(submit(priced()))
    deploy(new)
    job.signal("go", "woken")
    assert drive(job).status == "waiting"
    deploy(asks)
    clock.forward(minutes=1)
    recovery.wake_due()
    assert drive(job).result == "woken"
    assert replays.verify(job).is_good


def test_warned_the_step_runs_and_the_change_is_told(drive):
    deploy(old)
    job = submit(priced(), 7)
    deploy(new)
    assert drive(job).result == ["new", 7]
    note = job.events.get(type="note_added")
    assert (note.data["name"], note.step) == ("code_changed", "it")
    assert code.changed_in_process["warn"] == 1


def test_allowed_nothing_is_said(drive, policy):
    policy("allow")
    deploy(old)
    job = submit(priced(), 7)
    deploy(new)
    assert drive(job).result == ["new", 7]
    assert "note_added" not in told(job)


def test_several_versions_of_an_agent_stand_side_by_side(drive):
    def graph_of(name):
        def build():
            graph = Graph()
            graph.function("it", "say", value=name)
            return graph

        return build

    agents.agent("quoting", version="1.9")(graph_of("nine"))
    first = Job.objects.submit("quoting")
    agents.agent("quoting", version="1.10", on_code_change="block")(graph_of("ten"))
    agents.agent("quoting", version="1.2")(graph_of("two"))
    second = Job.objects.submit("quoting")

    assert agents.versions("quoting") == ["1.2", "1.9", "1.10"]
    assert [(job.agent_version, drive(job).result) for job in (first, second)] == [
        ("1.9", "nine"),
        ("1.10", "ten"),
    ]
    assert agents.on_code_change("quoting", "1.10") == "block"
    assert agents.on_code_change("quoting", "1.9") == "warn"
    with pytest.raises(InputInvalid, match="block, warn, allow"):
        agents.agent("quoting", on_code_change="perhaps")


# Markers


def before(context, value=None):
    context.tool("pay", amount=1.0)
    if context.record("crash", lambda: True) and context.step.attempt == 1:
        raise OSError("away")
    return "old side"


def after(context, value=None):
    if context.patched("notify-first"):
        context.tool("notify", to="ada")
        context.tool("pay", amount=1.0)
        return "new side"
    return before(context, value)


def test_a_step_that_begins_under_the_new_code_takes_the_new_side(drive):
    deploy(before)
    job = submit(priced())
    deploy(after)
    assert drive(job).result == "new side"
    assert job.effects.get().name == "patched:notify-first"
    assert replays.verify(job).is_good


def test_a_step_that_was_under_way_takes_the_old_side_and_keeps_to_it(drive, worker):
    deploy(before)
    job = submit(priced())
    run_once(job, worker)
    assert [call.tool for call in world.calls] == ["pay"]
    deploy(after)
    Step.objects.filter(job=job).update(run_after=None)

    assert drive(job).result == "old side"
    assert job.effects.get(name="patched:notify-first").value is False
    assert [call.tool for call in world.calls] == ["pay"]
    assert replays.verify(job).is_good


def test_a_marker_may_go_when_nobody_needs_it_any_more(drive):
    def finally_(context, value=None):
        context.tool("notify", to="ada")
        context.tool("pay", amount=1.0)
        return "new side"

    deploy(after)
    job = drive(submit(priced()))
    deploy(finally_)
    assert replays.verify(job).is_good


def test_a_job_from_before_the_marker_still_verifies(drive):
    deploy(lambda context, value=None: context.tool("pay", amount=1.0) and "old side")
    job = drive(submit(priced()))

    def marked(context, value=None):
        if context.patched("free"):
            return "free"
        return context.tool("pay", amount=1.0) and "old side"

    deploy(marked)
    assert replays.verify(job).is_good
    assert doctor.examine([job.pk]) == []


def test_the_same_marker_says_the_same_within_an_attempt(drive, worker):
    deploy(lambda context, value=None: [context.patched("a"), context.patched("a")])
    job = submit(priced())
    run_step(step_of(job).pk, worker)
    job.refresh_from_db()
    assert job.result == [True, True]
