"""Failure policy: what is tried again, how often, and what is told of it in the end."""

from datetime import timedelta

import pytest

from runtime import agents, planning, recovery
from runtime.exceptions import InputInvalid, Permanent
from runtime.graph import Graph
from runtime.models import Job
from runtime.outcomes import Retry
from tests.engine.driving import (
    calling,
    claim,
    doing,
    drive,
    last_error,
    run_once,
    step_of,
    submit,
    told,
    why,
)
from tools import NotSent, registry, tool


class CardDeclined(ValueError):
    """An error of the tests' own."""


def raising(error):
    def function(context, **inputs):
        raise error

    return function


def error_of(job, worker):
    """What one attempt ends in."""
    run_once(job, worker)
    return last_error(job)


@pytest.fixture
def declared():
    """Agents and tools that a test declares are forgotten after it."""
    kept_agents, kept_tools = dict(agents._agents), dict(registry._tools)
    yield
    agents._agents.clear()
    agents._agents.update(kept_agents)
    registry._tools.clear()
    registry._tools.update(kept_tools)


@pytest.mark.parametrize(
    "retry, ends",
    [
        ({"permanent": ["CardDeclined"]}, True),
        ({"permanent": ["tests.engine.test_failure_policy.CardDeclined"]}, True),
        ({"permanent": ["ValueError"]}, True),
        ({"permanent": ["builtins.ValueError"]}, True),
        ({"permanent": ["KeyError"]}, False),
        ({"retryable": ["KeyError"]}, True),
        ({"retryable": ["CardDeclined"]}, False),
        ({"retryable": ["ValueError"], "permanent": ["CardDeclined"]}, True),
        ({"retryable": []}, True),
    ],
)
def test_error_types_decide_whether_a_step_is_tried_again(retry, ends, worker):
    job = submit(doing(raising(CardDeclined("no")), retry=retry))
    step = run_once(job, worker)
    assert (step.status, step.attempt) == (("failed", 1) if ends else ("ready", 1))


def test_a_step_that_asks_for_a_retry_is_judged_by_the_type_that_it_names(worker):
    job = submit(
        doing(lambda context: Retry({"type": "Busy", "message": "later"}), retry={"permanent": ["Busy"]})
    )
    assert run_once(job, worker).status == "failed"


def test_what_a_tool_refuses_for_now_is_judged_by_what_it_raised(outside, worker):
    outside.before["charge"].append(NotSent("closed today"))
    job = submit(calling("charge", retry={"permanent": ["NotSent"]}))
    assert (run_once(job, worker).status, outside.effects()) == ("failed", [])


def test_a_call_in_doubt_is_never_ended_by_the_types_of_errors(outside, worker):
    outside.after["charge"].append(TimeoutError("no answer"))
    job = submit(calling("charge", retry={"permanent": ["TimeoutError"]}))
    assert run_once(job, worker).waiting_for == "unknown:charge#0"


def test_retry_after_is_honoured_also_beyond_the_longest_wait(outside, worker):
    outside.before["charge"].append(NotSent("busy", retry_after=timedelta(hours=2)))
    job = submit(calling("charge", retry={"max_backoff": "1s"}))
    tried = error_of(job, worker)["tried"]
    assert job.events.get(type="step_retried").data["after_ms"] == 2 * 3600 * 1000
    assert tried[-1]["after"] == 7200


@pytest.mark.parametrize("on_timeout, status", [("retry", "ready"), ("fail", "failed")])
def test_a_step_past_its_time_is_tried_again_unless_its_policy_says_otherwise(
    on_timeout, status, worker, clock
):
    job = submit(doing(raising(CardDeclined()), timeout="30s", retry={"on_timeout": on_timeout}))
    claim(job, worker)
    clock.forward(seconds=31)
    assert recovery.end_overdue() == 1
    assert step_of(job).status == status
    assert last_error(job)["type"] == "StepTimedOut"


def test_the_nearest_of_tool_agent_and_node_wins(declared, worker):
    @tool(retry={"max_attempts": 7, "backoff": "7s", "factor": 7.0})
    def often(context):
        return None

    @agents.agent("resolving", policy={"max_attempts": 6, "backoff": "6s", "timeout": "6m", "jitter": False})
    def resolving():
        graph = Graph()
        graph.tool("near", "often", retry={"max_attempts": 5}, timeout="5m")
        graph.tool("far", "often")
        graph.function("other", "say")
        return graph

    job = Job.objects.submit("resolving")
    steps = {step.key: step for step in job.steps.all()}
    assert {key: (step.max_attempts, step.timeout) for key, step in steps.items()} == {
        "near": (5, 300), "far": (6, 360), "other": (6, 360),
    }  # fmt: skip
    assert steps["near"].config["retry"] == {
        "max_attempts": 5,
        "backoff": "6s",
        "factor": 7.0,
        "jitter": False,
    }
    assert steps["other"].config["retry"] == {"max_attempts": 6, "backoff": "6s", "jitter": False}


def test_steps_of_maps_and_plans_follow_the_policy_of_their_agent(declared, worker, outside):
    outside.doings["plan"] = lambda context: _of_one()

    @agents.agent("within", policy={"max_attempts": 2})
    def within():
        graph = Graph()
        graph.plan("p", function="do", inputs={"what": "plan"}) >> graph.map("m", [1], _of_one())
        return graph

    job = drive(Job.objects.submit("within"), worker)
    assert job.status == "completed"
    assert set(job.steps.values_list("max_attempts", flat=True)) == {2}


def _of_one():
    graph = Graph()
    graph.function("one", "say")
    return graph


def test_the_time_that_a_timer_waits_is_not_the_time_that_its_agent_lets_steps_work(declared, worker):
    @agents.agent("waiting", policy={"timeout": "1m"})
    def waiting():
        graph = Graph()
        graph.approval("ask", prompt="?", timeout="2d")
        return graph

    job = Job.objects.submit("waiting")
    step = step_of(job, "ask")
    drive(job, worker)
    assert step.timeout == 60
    wait = job.waits.get()
    assert wait.deadline_at and wait.deadline_at - wait.opened_at == timedelta(days=2)


def test_nonsense_is_refused_where_it_is_said(declared):
    with pytest.raises(InputInvalid, match="policy of agent 'x'.*unknown key 'tries'"):
        agents.agent("x", policy={"tries": 3})

    @tool(retry={"max_attempts": 0})
    def silly(context):
        return None

    with pytest.raises(InputInvalid, match="retry of tool 'silly'.*max_attempts"):
        planning.submit(None, None, graph=calling("silly").build())


def test_a_new_setting_does_not_change_running_jobs(settings):
    job = submit(doing(raising(CardDeclined())))
    settings.AETHERIS = {**settings.AETHERIS, "MAX_ATTEMPTS": 99, "STEP_TIMEOUT_SECONDS": 1.0}
    assert (step_of(job).max_attempts, step_of(job).timeout) == (5, 600)
    assert step_of(submit(doing(raising(CardDeclined())))).max_attempts == 99


# What is told of a failure


def test_a_failure_tells_what_was_tried_and_what_was_between(worker, other, clock):
    errors = iter([CardDeclined("first"), KeyError("second")])

    def function(context):
        raise next(errors)

    job = submit(doing(function, retry={"max_attempts": 3, "backoff": "5s", "jitter": False}))
    run_once(job, worker)
    clock.forward(seconds=6)
    lost = claim(job, other)
    lost.rescue()
    run_once(job, worker)
    assert job.status == "failed"
    tried = why(job)["tried"]
    assert [(each["attempt"], each["type"], each.get("after")) for each in tried] == [
        (1, "CardDeclined", 5.0), (2, "WorkerLost", 0.0), (3, "KeyError", None),
    ]  # fmt: skip
    assert [each["at"] for each in tried] == sorted(each["at"] for each in tried)
    assert told(job)[-2:] == ["step_failed", "job_failed"]


def test_of_very_many_attempts_the_last_ones_are_told(worker, clock):
    job = submit(
        doing(raising(CardDeclined()), retry={"max_attempts": 30, "backoff": "1s", "max_backoff": "1s"})
    )
    for _ in range(30):
        run_once(job, worker)
        clock.forward(minutes=1)
    assert [each["attempt"] for each in why(job)["tried"]] == list(range(11, 31))


def test_a_poisonous_step_fails_visibly_after_its_last_lost_worker(worker):
    job = submit(doing(raising(CardDeclined()), retry={"max_attempts": 3}))
    for _ in range(3):
        claim(job, worker).rescue()
    job.refresh_from_db()
    assert (job.status, why(job)["type"], len(why(job)["tried"])) == ("failed", "WorkerLost", 3)


def test_a_failure_tells_its_causes_and_where_it_was_raised(worker):
    def function(context):
        try:
            try:
                raise KeyError("deepest")
            except KeyError as error:
                raise CardDeclined("middle") from error
        except CardDeclined as error:
            raise Permanent("outermost") from error

    job = submit(doing(function))
    error = error_of(job, worker)
    assert (error["type"], error["cause"]["type"], error["cause"]["cause"]["type"]) == (
        "Permanent", "CardDeclined", "KeyError",
    )  # fmt: skip
    assert "in function" in error["traceback"][-1]


def test_an_endless_chain_of_causes_is_cut(worker):
    def function(context):
        error = CardDeclined("round")
        error.__cause__ = CardDeclined("and round")
        error.__cause__.__cause__ = error
        raise error

    assert error_of(submit(doing(function)), worker)["cause"].keys() == {"type", "message"}


@pytest.mark.parametrize(
    "message, secret",
    [
        ("GET https://ada:hunter22@example.org failed", "hunter22"),
        ("sent Authorization: Bearer abcdef0123456789", "abcdef0123456789"),
        ("key sk-proj-0123456789abcdef was refused", "0123456789abcdef"),
        ('{"api_key": "0123456789"} is wrong', "0123456789"),
        ("password=hunter22 is wrong", "hunter22"),
    ],
)
def test_secrets_in_messages_are_masked(message, secret, worker):
    error = error_of(submit(doing(raising(CardDeclined(message)))), worker)
    assert secret not in str(error)
    assert "***" in error["message"]
