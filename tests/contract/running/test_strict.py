"""A strict step that breaks the contract fails for good instead of running, and its error says where."""

import time
from typing import Any

import pytest
from django.test import override_settings

from runtime import agents
from runtime.agents import StepFunction
from runtime.contract import Finding
from runtime.graph import Graph
from tests.engine.driving import drive, last_error, step_of, submit, told

ran: list[str] = []


def impure(context: Any) -> float:
    ran.append("impure")  # aetheris: allow[state] the test looks at it
    return time.time()


def pure(context: Any) -> int:
    ran.append("pure")  # aetheris: allow[state] the test looks at it
    return 1


class NoOnes:
    """A validator of a project."""

    def validate(self, step: StepFunction) -> list[Finding]:
        if step.name != "pure":
            return []
        return [Finding("ones", "somewhere.py", 7, "it answers 1", "2")]


class Broken:
    def validate(self, step: StepFunction) -> list[Finding]:
        raise ZeroDivisionError("in the validator")


@pytest.fixture(autouse=True)
def nothing_ran():
    ran.clear()


@pytest.fixture
def declare(monkeypatch):
    """Register a step for the length of a test."""

    def declare(function, *, strict):
        monkeypatch.setitem(
            agents._functions, function.__name__, StepFunction(function.__name__, function, strict)
        )
        graph = Graph()
        graph.function("it", function.__name__)
        return graph

    return declare


def test_a_strict_step_that_breaks_the_contract_fails_at_once_and_says_why(worker, declare):
    job = drive(submit(declare(impure, strict=True)), worker)

    error = last_error(job)
    [finding] = error["findings"]
    assert (job.status, step_of(job).attempt, ran) == ("failed", 1, [])
    assert (error["type"], finding["code"], finding["file"]) == ("ContractViolated", "clock", __file__)
    assert finding["line"] == impure.__code__.co_firstlineno + 2
    assert "Instead: `context.now()`" in error["message"]
    assert "step_failed" in told(job)


def test_a_step_that_is_not_strict_runs_as_it_is(worker, declare):
    job = drive(submit(declare(impure, strict=False)), worker)

    assert (job.status, ran) == ("completed", ["impure"])


@override_settings(AETHERIS={"STRICT_STEPS": True})
def test_the_setting_makes_every_step_strict(worker, declare):
    job = drive(submit(declare(impure, strict=False)), worker)
    other = drive(submit(declare(pure, strict=False)), worker)

    assert (job.status, other.status, ran) == ("failed", "completed", ["pure"])


@override_settings(
    AETHERIS={"STEP_VALIDATORS": ("runtime.contract.default.ContractValidator", f"{__name__}.NoOnes")}
)
def test_validators_of_the_project_speak_after_the_runtimes(worker, declare):
    job = drive(submit(declare(pure, strict=True)), worker)

    assert [finding["code"] for finding in last_error(job)["findings"]] == ["ones"]


@override_settings(AETHERIS={"STEP_VALIDATORS": (f"{__name__}.NoOnes",)})
def test_the_setting_replaces_the_validators(worker, declare):
    job = drive(submit(declare(impure, strict=True)), worker)

    assert job.status == "completed"


@override_settings(AETHERIS={"STEP_VALIDATORS": (f"{__name__}.Broken",)})
def test_a_validator_that_raises_is_named_and_the_step_does_not_run(worker, declare):
    graph = declare(pure, strict=True)
    job = drive(submit(graph), worker)

    error = step_of(job).error
    assert isinstance(error, dict)
    assert (error["type"], ran) == ("ValidatorUnusable", [])
    assert f"{__name__}.Broken" in error["message"] and "ZeroDivisionError" in error["message"]
