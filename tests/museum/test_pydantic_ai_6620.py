"""Pydantic AI (#6620): outside a workflow the same calls were made without durability, and nobody was told."""

import time

import pytest

from runtime import agents
from runtime.agents import StepFunction
from runtime.graph import Graph, GraphInvalid
from tests.engine.driving import calling, last_error, submit

ran: list[str] = []


def beside_the_ledger(context):
    ran.append("it")  # aetheris: allow[state] the test looks at it
    return time.time()


def test_a_strict_step_that_goes_around_what_is_recorded_fails_before_it_runs(drive, monkeypatch):
    declared = StepFunction("beside_the_ledger", beside_the_ledger, True)
    monkeypatch.setitem(agents._functions, "beside_the_ledger", declared)
    graph = Graph()
    graph.function("it", "beside_the_ledger")
    job = drive(submit(graph))
    assert (job.status, ran) == ("failed", [])
    assert "context.now()" in str(last_error(job))


def test_what_nobody_declared_is_no_tool():
    with pytest.raises(GraphInvalid, match="unknown tool"):
        submit(calling("beside_the_ledger"))
