"""What steps, expressions and graphs may come up with: each ends in an error of its own, and harms nobody else."""

import time
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from runtime.exceptions import CallRefused
from runtime.outcomes import Completed, Retry, Waiting
from tests.agents_app.world import world
from tests.engine.driving import doing, drive, last_error, run_once, statuses, step_of, submit


def before(following: dict[str, Any], **keys: Any) -> dict[str, Any]:
    """A function step, and a step after it."""
    first = {"id": "a", "kind": "function", "function": "do", "inputs": {"what": "a"}}
    return {"nodes": [first, {"id": "b", **following}], "edges": [{"from": "a", "to": "b"}], **keys}


@pytest.fixture
def runs(outside: Any) -> list[str]:
    """Told by each run of the step function `a`."""
    told: list[str] = []

    def count(context: Any, **inputs: Any) -> str:
        told.append("a")
        return "x" * 100_000

    world.doings["a"] = count
    return told


# A call is made durable with the record of the step before it; what is wrong with it is no fault of that step.


@pytest.mark.parametrize(
    "following",
    [
        {"kind": "llm", "prompt": "hi", "model": "m" * 201},
        {"kind": "llm", "prompt": "${'\\u0000' + input}"},
        {"kind": "tool", "tool": "lookup", "inputs": {"name": "${'\\u0000' + input}"}},
        {"kind": "tool", "tool": "lookup", "inputs": {"name": "${a}" * 100}},
        {"kind": "tool", "tool": "lookup", "inputs": {"name": "${input.nothing}"}},
    ],
    ids=["model name", "prompt", "argument", "size", "expression"],
)
def test_a_call_that_cannot_be_recorded_fails_its_own_step_and_not_the_one_before(following, worker, runs):
    job = drive(submit(before(following), "in"), worker)
    assert statuses(job) == {"a": "completed", "b": "failed"}
    assert (runs, step_of(job, "b").failures) == (["a"], 1)
    assert last_error(job, "b")["type"] in ("InputInvalid", "ExpressionFailed")


# Outcomes that no row can hold, or that nothing could ever follow


CENTURY = timedelta(days=36_500)


@pytest.mark.parametrize(
    "outcome",
    [
        Retry({}, timedelta.max),
        Retry({}, CENTURY),
        Retry({}, 5),  # type: ignore[arg-type]
        Waiting("signal", "go", timeout=CENTURY),
        Waiting("signal", "go", timeout=5),  # type: ignore[arg-type]
        Waiting("timer", "t", until="tomorrow"),  # type: ignore[arg-type]
        Waiting("timer", "t", until=datetime.max.replace(tzinfo=timezone(timedelta(hours=-23)))),
        Waiting("timer", "t", until=datetime.min),
        Waiting("signal", "go", event="e" * 41),
        Waiting("signal", "go", event='x","type":"job_completed'),
        Waiting("signal", "go", event="step_completed"),
        Waiting("signal", "go", event="job_failed"),
        Waiting("signal", "go", event="approval_requested"),
        Waiting("unknown", "call#0"),
        Waiting("scopes", "it"),
        Waiting("visit", "it"),
        Waiting("approval", "go"),
        Waiting("signal", "approval:it"),
        Waiting("approval", "approval:it", approvers={"users": [5]}),
        Waiting("approval", "approval:it", approvers=[]),  # type: ignore[arg-type]
        Waiting("approval", "approval:it", schema={"$ref": "http://127.0.0.1/x"}),
        Waiting("approval", "approval:it", prompt={}),  # type: ignore[arg-type]
        Completed(1, branch=5),  # type: ignore[arg-type]
    ],
    ids=str,
)
def test_an_outcome_that_cannot_be_recorded_fails_the_step_and_says_which(outcome, worker):
    job = submit(doing(lambda context: outcome))
    step = run_once(job, worker)
    assert (job.status, step.status, step.failures) == ("failed", "failed", 1)
    assert last_error(job)["message"].startswith("it ")


def test_what_is_over_already_is_now(worker):
    job = submit(doing(lambda context: Waiting("timer", "t", timeout=timedelta(days=-3))))
    assert run_once(job, worker).status == "waiting"
    wait = job.waits.get()
    assert wait.deadline_at == wait.opened_at


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise SystemExit("not even this")


@pytest.mark.parametrize(
    "error",
    [
        Unspeakable(),
        CallRefused("x", {"message": "a\0b"}),
        CallRefused("x", {"retry_after": "soon"}),
        CallRefused("x", {"retry_after": 1e300}),
        CallRefused("x", {"retry_after": float("nan")}),
    ],
    ids=["text", "nul", "word", "huge", "nan"],
)
def test_an_error_that_cannot_be_told_still_ends_the_attempt(error, worker):
    def fail(context: Any) -> None:
        raise error

    assert run_once(submit(doing(fail)), worker).failures == 1


def test_code_from_a_file_of_an_impossible_name_may_fail(worker):
    made: dict[str, Any] = {}
    exec(compile("def fail(context):\n    raise ValueError(1)", "a\udcff.py", "exec"), made)
    assert run_once(submit(doing(made["fail"])), worker).failures == 1


def test_a_backoff_beyond_all_numbers_is_the_longest_one(worker):
    def fail(context: Any, **inputs: Any) -> None:
        raise ValueError("again")

    job = submit(
        doing(fail, retry={"factor": 1e308, "max_backoff": "1h", "max_attempts": 9, "jitter": False})
    )
    for failures in range(1, 5):
        job.steps.update(run_after=None)
        assert run_once(job, worker).failures == failures
    step = step_of(job)
    assert step.run_after and step.ready_at and step.run_after - step.ready_at == timedelta(hours=1)


def test_approvers_that_are_none_fail_the_step_that_asks(worker):
    node = {"id": "ok", "kind": "approval", "prompt": "?", "approvers": {"permission": "${input}"}}
    job = drive(submit({"nodes": [node]}, {"a": 1}), worker)
    assert job.status == "failed"
    assert (
        last_error(job, "ok")["message"] == "ok wait.approvers: permission must be a text that is not empty"
    )


@pytest.mark.parametrize("moment", ["9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59", "10000-01-01"])
def test_a_timer_until_a_moment_that_no_row_holds_fails(moment, worker):
    job = drive(submit({"nodes": [{"id": "t", "kind": "timer", "until": "${input}"}]}, moment), worker)
    assert (job.status, statuses(job)) == ("failed", {"t": "failed"})


# More than a worker can bear


def test_a_large_text_in_many_places_is_refused_before_it_is_written_out(worker):
    job = submit(doing(lambda context: [["x" * 1_000_000] * 1000] * 1000))
    began = time.process_time()
    assert run_once(job, worker).status == "failed"
    assert "limit" in last_error(job)["message"]
    assert time.process_time() - began < 20


@pytest.mark.parametrize(
    "value", ["${input}-" * 1000, ["${input}-"] * 1000, {"a": ["${input} ${input}"] * 500}], ids=str
)
def test_a_large_text_that_is_filled_in_many_times_is_refused(value, worker):
    node = {"id": "a", "kind": "function", "function": "say", "inputs": {"value": value}}
    began = time.process_time()
    job = drive(submit({"nodes": [node]}, "x" * 1_000_000), worker)
    assert (job.status, last_error(job, "a")["type"]) == ("failed", "ExpressionFailed")
    assert time.process_time() - began < 30


def test_copies_of_a_map_that_are_too_large_together_are_refused(worker):
    inner = {"nodes": [{"id": "c", "kind": "function", "function": "say", "inputs": {"value": "${one}"}}]}
    body = {"nodes": [{"id": "b", "kind": "map", "items": "${item.many}", "as": "one", "graph": inner}]}
    outer = {"nodes": [{"id": "a", "kind": "map", "items": "${input}", "graph": body}]}
    job = drive(submit(outer, [{"text": "x" * 1_000_000, "many": list(range(5000))}]), worker)
    assert (job.status, job.steps.count()) == ("failed", 2)
    assert "5000 copies" in last_error(job, "a[0].b")["message"]
