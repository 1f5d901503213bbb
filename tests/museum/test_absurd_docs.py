"""Absurd (as its documents warn): steps that were inserted or reordered made a replay go wrong without a word."""

import pytest

from runtime import replays
from tests.agents_app.world import world
from tests.engine.driving import doing, last_error, run_once, submit


@pytest.fixture
def interrupted(worker, outside, clock):
    """A step that paid, and then failed once; what it does is changed before its next attempt."""

    def first(context):
        context.tool("pay", amount=1.0)
        raise TimeoutError("once")

    job = submit(doing(first))
    run_once(job, worker)
    clock.forward(hours=1)
    worker.beat()
    return job


def test_another_call_before_it_does_not_shift_the_results(interrupted, drive, outside):
    def changed(context):
        told = context.tool("notify", to="x")
        return [told, context.tool("pay", amount=1.0)]

    world.doings["it"] = changed
    assert drive(interrupted).result == [{"sent": "x"}, {"paid": 1.0}]
    assert len(outside.effects("pay")) == 1


def test_the_same_call_with_other_arguments_is_a_loud_error(interrupted, drive, outside):
    world.doings["it"] = lambda context: context.tool("pay", amount=2.0)
    assert (drive(interrupted).status, last_error(interrupted)["type"]) == ("failed", "FingerprintMismatch")
    assert len(outside.effects("pay")) == 1


def test_a_history_that_the_code_does_not_follow_any_more_is_a_divergence(drive):
    job = drive(submit(doing(lambda context: [context.random(), context.tool("pay", amount=1.0)])))
    world.doings["it"] = lambda context: [context.tool("notify", to="x")]
    assert not replays.verify(job).is_good
