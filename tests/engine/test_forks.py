"""Forks: a new job from a step on, with what was done before it, and with other inputs where they are given."""

import pytest

from runtime import forks
from runtime.exceptions import InputInvalid, StepNotFound
from runtime.graph import Graph, GraphInvalid
from tests.engine.driving import calling, statuses, submit, told


def payments():
    graph = Graph()
    order = graph.tool("order", "charge", amount="${input}")
    refund = graph.tool("refund", "charge", amount="${order.charged}")
    order >> refund >> graph.function("after", "say", value="${refund.charged}")
    return graph


def amounts(outside):
    return [call.arguments["amount"] for call in outside.effects("charge")]


def test_the_plan_names_what_is_taken_over_what_runs_and_which_effects_may_happen_again(drive):
    job = drive(submit(payments(), 5))
    planned = forks.plan(job, "refund")
    assert (planned.copied, planned.again) == (["order"], ["refund", "after"])
    assert [(one["step"], one["tool"], one["state"]) for one in planned.effects] == [
        ("refund", "charge", "committed")
    ]


def test_a_fork_repeats_only_what_comes_after_and_leaves_its_origin_alone(drive, outside):
    job = drive(submit(payments(), 5))
    before = (job.seq, statuses(job))
    fork = drive(job.fork("refund", by="ops", why="once more"))
    assert (fork.status, fork.result, len(amounts(outside))) == ("completed", 5.0, 3)
    job.refresh_from_db()
    assert (job.seq, statuses(job)) == before
    assert told(fork)[:3] == ["job_submitted", "plan_recorded", "job_forked"]


def test_a_fork_of_which_nothing_can_run_ends_at_once_with_its_result_evaluated(drive):
    graph = Graph()
    graph.function("large", "say", value="${input}")
    graph.condition("big", "false").when(True) >> graph.function("after", "say", value=1)
    graph.result({"big": "${big}", "after": "${after}", "size": "${size(large)}", "given": "${input}"})
    job = drive(submit(graph, "x" * 100_000))
    fork = job.fork("after", input=7)
    assert (fork.status, statuses(fork)["after"]) == ("completed", "skipped")
    assert fork.result == {**job.result, "given": 7}


def test_a_step_is_given_something_else_and_keeps_its_other_inputs(drive, outside):
    job = drive(submit(payments(), 5))
    fork = drive(job.fork("refund", step_input={"amount": 2}))
    assert (fork.result, amounts(outside)) == (2.0, [5.0, 5.0, 2.0])
    assert fork.graph_digest != job.graph_digest


def test_what_a_step_is_given_may_refer_to_what_came_before(drive, outside):
    job = drive(submit(payments(), 5))
    assert drive(job.fork("refund", step_input={"amount": "${order.charged * 2.0}"})).result == 10.0
    with pytest.raises(GraphInvalid, match="after"):
        job.fork("refund", step_input={"amount": "${after}"})


def test_the_job_may_have_another_input_as_well(drive, outside):
    job = drive(submit(payments(), 5))
    assert drive(job.fork("order", input=7)).result == 7.0
    assert job.fork("refund", input=9).input == 9


def test_a_node_of_another_kind_takes_some_of_its_own_keys(drive):
    graph = Graph()
    choice = graph.condition("choice", "input > 3")
    choice.when(True) >> graph.function("yes", "say", value="yes")
    choice.when(False) >> graph.function("no", "say", value="no")
    job = drive(submit(graph, 5))
    assert statuses(job)["no"] == "skipped"
    assert statuses(drive(job.fork("choice", step_input={"if": "false"})))["no"] == "completed"
    with pytest.raises(InputInvalid, match="a condition is given no amount; it has if"):
        job.fork("choice", step_input={"amount": 1})


def test_what_the_step_cannot_be_given_is_refused_with_the_place_named(drive, outside):
    job = drive(submit(calling("charge", amount=1)))
    with pytest.raises(GraphInvalid, match="inputs.amount"):
        job.fork("it", step_input={"amount": "much"})


def test_a_step_that_does_not_exist_is_told(drive):
    with pytest.raises(StepNotFound, match="nowhere"):
        drive(submit(payments(), 5)).fork("nowhere")
