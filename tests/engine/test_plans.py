"""Plans: code or a model makes a graph, which is checked, recorded once, and run in its place. And spawned steps."""

import json
from typing import Any

import httpx
import pytest

from runtime import agents, forks
from runtime.graph import Graph
from runtime.outcomes import Completed
from runtime.ports import CrashPoint
from tests.agents_app.world import world
from tests.engine.driving import claim, crash_at, last_error, run_once, statuses, step_of, submit, told, why
from tests.engine.driving import drive as drive_with
from tests.engine.scoped import body, failing_for, mapping, run_alone


def planning(plan: Any, **inputs: Any) -> Graph:
    """A graph that lets a function make one."""
    world.doings["plan"] = plan
    graph = Graph()
    graph.plan("p", "do", what="plan", **inputs)
    return graph


def chain(*values: Any) -> Graph:
    """Steps that answer these values, one after the other."""
    graph = Graph()
    for number, value in enumerate(values):
        node = graph.function(f"s{number}", "say", value=value)
        if number:
            graph.handle(f"s{number - 1}") >> node
    return graph


# By code


@pytest.mark.pg_slice
def test_a_planned_graph_runs_in_its_place_and_its_result_is_the_steps(drive):
    graph = planning(lambda context, n: chain(n, "${s0 + 1}"), n="${input}")
    graph.function("after", "add", one="${p}", other=10)
    job = drive(submit(graph, 5))
    assert (job.status, job.result) == ("completed", 16)
    assert set(statuses(job)) == {"p", "p.s0", "p.s1", "after"}
    assert told(job, step="p") == [
        "step_claimed", "plan_recorded", "step_parked", "step_resumed", "step_claimed", "step_completed",
    ]  # fmt: skip


@pytest.mark.parametrize("form", ["builder", "wire", "text"])
def test_a_plan_may_come_in_any_form(form, drive):
    made = chain("x")
    forms: dict[str, Any] = {"builder": made, "wire": made.build(), "text": json.dumps(made.build())}
    assert drive(submit(planning(lambda context: forms[form]))).result == "x"


def test_a_planned_graph_may_speak_of_what_the_plan_was_given(drive):
    graph = planning(lambda context, **inputs: chain("${base + input.n}"), base="${base}")
    graph.function("base", "say", value=40)
    assert drive(submit(graph, {"n": 2})).result == 42


def test_a_planned_graph_may_not_speak_of_what_the_plan_was_not_given(drive):
    graph = planning(lambda context: chain("${base}"))
    graph.function("base", "say", value=40)
    job = drive(submit(graph))
    assert (job.status, why(job)["type"]) == ("failed", "GraphInvalid")
    assert why(job)["problems"][0]["code"] == "unknown_reference"


@pytest.mark.parametrize(
    "wire, code",
    [
        ({"nodes": []}, "no_nodes"),
        ("{", "not_json"),
        (None, "not_object"),
        (chain("${s1}", 1).build(), "cycle"),
        ({"nodes": [{"id": "a", "kind": "function", "function": "rm"}]}, "unknown_function"),
    ],
)
def test_code_that_makes_a_graph_that_cannot_run_fails_at_once_with_every_problem(wire, code, drive):
    job = drive(submit(planning(lambda context: wire)))
    assert (job.status, step_of(job, "p").attempt, why(job)["type"]) == ("failed", 1, "GraphInvalid")
    assert code in {problem["code"] for problem in why(job)["problems"]}
    assert job.steps.count() == 1


def test_a_planned_graph_may_plan_and_map_again(drive):
    def plan(context: Any, depth: int) -> Graph:
        graph = Graph()
        if depth:
            graph.plan("p", "do", what="plan", depth=depth - 1)
        else:
            graph.map("each", [1, 2], body())
        return graph

    job = drive(submit(planning(plan, depth=2)))
    assert job.result == [1, 2]
    assert "p.p.p.each[1].it" in statuses(job)


def test_a_plan_inside_a_copy_speaks_of_its_item(drive):
    world.doings["plan"] = lambda context, **inputs: chain("${item} of ${index}", "${s0}!")
    inner = Graph()
    inner.plan("p", "do", what="plan")
    job = drive(submit(mapping(inner), ["a", "b"]))
    assert job.result == ["a of 0!", "b of 1!"]
    assert "each[1].p.s0" in statuses(job)


def test_a_planned_step_that_fails_fails_the_plan_with_its_cause(drive):
    job = drive(submit(planning(lambda context: _failing("x"))))
    assert (job.status, why(job)["step"]) == ("failed", "p")
    assert "x is bad" in why(job)["message"]


def _failing(value: str) -> Graph:
    failing_for(value)
    graph = Graph()
    graph.function("bad", "do", what="fail for", value=value)
    return graph


def test_the_failure_of_a_plan_may_be_handled(drive):
    graph = planning(lambda context: _failing("x"))
    graph.handle("p").failed >> graph.function("mend", "say", value="mended")
    graph.result("${mend}")
    job = drive(submit(graph))
    assert (job.status, job.result) == ("completed", "mended")


@pytest.mark.parametrize("point", [CrashPoint.BEFORE_RECORD, CrashPoint.AFTER_RECORD])
def test_a_plan_is_recorded_once_whatever_its_worker_does(point, worker, other):
    made: list[int] = []

    def plan(context: Any) -> Graph:
        made.append(1)
        return chain(f"plan {len(made)}")

    job = submit(planning(plan))
    with crash_at(point):
        run_once(job, worker, "p")
    for step in job.steps.filter(status="running"):
        step.rescue()
    drive_with(job, other)
    assert told(job).count("plan_recorded") == 2
    assert job.result == ("plan 2" if point is CrashPoint.BEFORE_RECORD else "plan 1")


def test_a_plan_may_await(drive):
    async def plan(context: Any) -> Graph:
        return chain("later")

    assert drive(submit(planning(plan))).result == "later"


def test_a_plan_that_raises_is_retried_like_any_step(drive, clock):
    left = [ValueError("not yet")]

    def plan(context: Any) -> Graph:
        if left:
            raise left.pop()
        return chain("made")

    job = drive(submit(planning(plan)))
    assert step_of(job, "p").failures == 1
    clock.forward(minutes=5)
    assert drive(job).result == "made"


# By a model


def says(model: httpx.Client, match: str, content: str) -> None:
    assert model.post("/replies", json={"match": match, "content": content}).status_code == 201


def prompted(prompt: str = "Plan a ${input}.", **keys: Any) -> Graph:
    graph = Graph()
    graph.plan("p", prompt=prompt, **keys)
    return graph


def test_a_graph_of_a_model_is_checked_and_run(model, drive):
    says(model, "Plan a trip", json.dumps(chain("fly", "land").build()))
    job = drive(submit(prompted(), "trip"))
    assert (job.status, job.result) == ("completed", "land")
    assert [(entry.kind, entry.state) for entry in job.ledger.all()] == [("llm", "committed")]


def test_a_model_whose_graph_cannot_run_is_told_why_and_asked_again(model, drive, clock):
    says(model, "unknown function", json.dumps(chain("better").build()))
    says(model, "Plan a house", json.dumps({"nodes": [{"id": "a", "kind": "function", "function": "build"}]}))
    job = drive(submit(prompted(), "house"))
    assert (step_of(job, "p").status, last_error(job, "p")["type"]) == ("ready", "GraphInvalid")
    assert last_error(job, "p")["problems"][0]["code"] == "unknown_function"
    clock.forward(minutes=5)
    assert drive(job).result == "better"
    assert [entry.call for entry in job.ledger.all()] == ["llm.0", "llm.1"]
    asked: Any = job.ledger.get(call="llm.1").arguments
    assert "unknown function 'build'" in asked["messages"][-1]["content"]


def test_a_model_that_never_makes_a_graph_fails_the_step_when_its_attempts_are_used_up(model, drive, clock):
    says(model, "Plan a poem", "Roses are red.")
    job = submit(prompted(retry={"max_attempts": 3}), "poem")
    for _ in range(4):
        drive(job)
        clock.forward(hours=1)
    assert (drive(job).status, why(job)["type"]) == ("failed", "GraphInvalid")
    assert job.ledger.count() == 3


def test_a_recorded_plan_of_a_model_is_not_asked_for_again(model, worker, other):
    says(model, "Plan a walk", json.dumps(chain("walked").build()))
    job = submit(prompted(), "walk")
    before = model.get("/calls").json()["total"]
    with crash_at(CrashPoint.BEFORE_RECORD):
        run_once(job, worker, "p")
    step_of(job, "p").rescue()
    assert drive_with(job, other).result == "walked"
    assert model.get("/calls").json()["total"] == before + 1


def test_a_refused_plan_is_not_asked_for_again_after_a_crash_but_the_next_one_is(model, worker, other, clock):
    says(model, "was refused", json.dumps(chain("better").build()))
    says(model, "Plan a raft", "no graph")
    job = submit(prompted(), "raft")
    run_once(job, worker, "p")
    clock.forward(minutes=5)
    before = model.get("/calls").json()["total"]
    with crash_at(CrashPoint.BEFORE_RECORD):
        run_once(job, worker, "p")
    step_of(job, "p").rescue()
    clock.forward(minutes=5)
    assert drive_with(job, other).result == "better"
    assert model.get("/calls").json()["total"] == before + 1


# Spawned steps


def spawning(spawn: Any, **keys: Any) -> Graph:
    """A step that adds the steps of a graph to the job."""
    world.doings["spawn"] = spawn
    graph = Graph()
    graph.function("s", "do", what="spawn", **keys)
    return graph


def test_spawned_steps_belong_to_the_job_which_ends_when_they_have_ended(worker):
    graph = spawning(lambda context: Completed("spawned", spawn=chain(1, "${s0 + 1}")))
    graph.handle("s") >> graph.function("after", "say", value="after")
    job = submit(graph)
    run_alone(job, worker, "s")
    run_alone(job, worker, "after")
    assert (job.status, job.result) == ("running", None)
    drive_with(job, worker)
    assert (job.status, job.result, step_of(job, "s.s1").result) == ("completed", "after", 2)
    event = job.events.get(type="plan_recorded", step="s")
    assert (event.data["steps"], event.attempt) == (2, 1)


@pytest.mark.parametrize("form", ["builder", "wire", "graph"])
def test_a_graph_to_spawn_may_come_in_any_form(form, drive):
    made = chain("x")
    forms: dict[str, Any] = {"builder": made, "wire": made.build(), "graph": agents.parse(made.build())}
    job = drive(submit(spawning(lambda context: Completed(spawn=forms[form]))))
    assert statuses(job) == {"s": "completed", "s.s0": "completed"}


def test_spawned_steps_may_speak_of_what_their_spawner_was_given(drive):
    graph = spawning(lambda context, **inputs: Completed(spawn=chain("${base + 1}")), base="${base}")
    graph.function("base", "say", value=1)
    job = drive(submit(graph))
    assert step_of(job, "s.s0").result == 2


def test_a_graph_that_cannot_run_is_not_spawned_and_fails_the_step_with_its_problems(drive):
    job = drive(submit(spawning(lambda context: Completed(spawn=chain("${nobody}")))))
    assert (job.status, step_of(job, "s").attempt, job.steps.count()) == ("failed", 1, 1)
    assert "nobody" in why(job)["message"]


def test_a_spawned_step_that_fails_fails_the_job(drive):
    job = drive(submit(spawning(lambda context: Completed(spawn=_failing("x")))))
    assert (job.status, why(job)["step"], statuses(job)["s"]) == ("failed", "s.bad", "completed")


def test_steps_spawned_inside_a_copy_belong_to_it(drive):
    world.doings["spawn"] = lambda context, value: Completed(value, spawn=chain("${item}/${index}"))
    job = drive(submit(mapping(body("do", what="spawn", value="${item}")), ["a", "b"]))
    assert job.result == ["a", "b"]
    assert step_of(job, "each[1].it.s0").result == "b/1"
    assert step_of(job, "each[1].it.s0").scope_id == step_of(job, "each[1].it").scope_id


def test_a_step_spawned_inside_a_copy_that_fails_fails_the_copy(drive):
    world.doings["spawn"] = lambda context, value: Completed(
        value, spawn=_failing("x") if value == "a" else None
    )
    job = drive(
        submit(
            mapping(body("do", what="spawn", value="${item}"), completion={"tolerated_failures": 1}),
            ["a", "b"],
        )
    )
    result: Any = job.result
    assert (job.status, result["results"], result["failed"]) == ("completed", [None, "b"], 1)
    assert result["errors"][0]["error"]["step"] == "each[0].it.bad"


def test_what_is_spawned_in_a_copy_that_was_told_to_end_does_not_run(worker):
    job = submit(mapping(body("say"), completion=None), [1, 2])
    run_alone(job, worker, "each")
    running, bad = claim(job, worker, "each[0].it"), claim(job, worker, "each[1].it")
    bad.fail({"type": "E", "message": "no"})
    with running.turn(worker=worker.id) as turn:
        turn.spawn(running, agents.parse(chain("x").build()))
        turn.complete(running, "done")
    assert statuses(job)["each[0].it.s0"] == "cancelled"
    assert drive_with(job, worker).status == "failed"


def test_a_spawned_step_may_spawn(drive):
    def spawn(context: Any) -> Completed:
        graph = Graph()
        graph.function("t", "do", what="spawn again")
        return Completed(1, spawn=graph)

    world.doings["spawn again"] = lambda context: Completed(2, spawn=chain("deep"))
    job = drive(submit(spawning(spawn)))
    assert statuses(job) == {"s": "completed", "s.t": "completed", "s.t.s0": "completed"}


def test_a_crash_after_steps_were_spawned_spawns_them_once(worker, other):
    job = submit(spawning(lambda context: Completed(1, spawn=chain("x"))))
    with crash_at(CrashPoint.BEFORE_RECORD):
        run_once(job, worker, "s")
    assert job.steps.count() == 1
    step_of(job, "s").rescue()
    assert drive_with(job, other).status == "completed"
    assert job.steps.count() == 2


def test_a_job_that_was_cancelled_while_its_step_spawned_runs_none_of_it(worker):
    def spawn(context: Any) -> Completed:
        job.cancel(by="ops")
        return Completed(1, spawn=chain("x"))

    job = submit(spawning(spawn))
    run_once(job, worker, "s")
    assert (job.status, statuses(job)) == ("cancelled", {"s": "completed", "s.s0": "cancelled"})


def test_a_fork_knows_what_happened_inside_the_maps_that_it_takes_over(drive, outside):
    inner = Graph()
    inner.tool("pay", "charge", amount="${item}")
    graph = Graph()
    graph.map("each", [1.0, 2.0], inner) >> graph.function("after", "say", value="${each}")
    job = drive(submit(graph))
    assert [effect["step"] for effect in forks.plan(job, "each").effects] == ["each[0].pay", "each[1].pay"]
    assert forks.plan(job, "after").effects == []
    assert drive(job.fork("after")).result == [{"charged": 1.0}, {"charged": 2.0}]
    assert len(outside.effects("charge")) == 2
    assert drive(job.fork("each")).status == "completed"
    assert len(outside.effects("charge")) == 4


def test_a_fork_of_a_job_with_spawned_steps_spawns_anew(drive):
    graph = spawning(lambda context: Completed("spawned", spawn=chain("x")))
    graph.handle("s") >> graph.function("after", "say", value="after")
    job = drive(submit(graph))
    fork = drive(job.fork("after"))
    assert (fork.status, fork.result) == ("completed", "after")
