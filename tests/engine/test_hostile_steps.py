"""What steps, expressions and graphs may come up with: each ends in an error of its own, and harms nobody else."""

from typing import Any

import pytest

from tests.agents_app.world import world
from tests.engine.driving import drive, last_error, run_once, statuses, step_of, submit


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
