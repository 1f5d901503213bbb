"""Rates and concurrency: how often, and how many at once. Redis keeps them, with its own clock."""

from dataclasses import replace

import pytest

from runtime import hinting, leases, limits, recovery
from runtime.exceptions import InputInvalid
from runtime.graph import Graph
from runtime.limits import Place
from runtime.ports import CrashPoint
from tests.engine.driving import calling, crash_at, doing, drive, last_error, run_once, step_of, submit, told
from tools import Absent, registry
from tools.rates import Limit


@pytest.fixture
def limited():
    """Bounds one of the tests' tools for one test."""
    kept = dict(registry._tools)

    def limited(name, **bounds):
        tool = registry._tools[name]
        registry._tools[name] = replace(tool, policy=replace(tool.policy, **bounds))

    yield limited
    registry._tools.clear()
    registry._tools.update(kept)


def usage(*names):
    """What is in use under these names: other modules of tests declare limited tools too."""
    return [each for each in limits.usage() if each["name"] in names]


def place(**bounds):
    return Place("tool", "x", Limit(**bounds), hold=60)


@pytest.mark.parametrize("rate", ["ten/s", "10", "0/s", "10/w", "-1/s", "1.5/s"])
def test_a_rate_that_says_nothing_is_refused(rate):
    with pytest.raises(ValueError, match="such as 10/s"):
        Limit(rate=rate)


def test_a_rate_lets_so_many_begin_at_once_and_gives_each_other_a_moment_of_its_own():
    x = place(rate="3/m")
    assert [limits.enter(x, f"first{n}") for n in range(3)] == [0, 0, 0]
    pauses = [limits.enter(x, f"then{n}") for n in range(6)]
    assert all(30 < pause <= 60 for pause in pauses[:3])
    assert all(90 < pause <= 120 for pause in pauses[3:])


def test_who_comes_again_early_keeps_the_moment_that_was_promised():
    x = place(rate="1/h")
    assert limits.enter(x, "first") == 0
    promised = limits.enter(x, "second")
    assert limits.enter(x, "third") > 7000
    assert promised - 60 < limits.enter(x, "second") <= promised


def test_a_promised_moment_that_has_come_is_good_for_one_call():
    x = place(rate="20/h")
    for n in range(20):
        assert limits.enter(x, f"n{n}") == 0
    assert 0 < limits.enter(x, "late") <= 3600
    leases.client().zadd(x.keys[1], {"late": now()})
    assert limits.enter(x, "late") == 0
    assert limits.enter(x, "late") > 0


def test_so_many_call_at_once_and_a_place_that_is_left_is_free():
    x = place(concurrency=2)
    assert (limits.enter(x, "a"), limits.enter(x, "b")) == (0, 0)
    assert limits.enter(x, "c") == 1
    assert limits.enter(x, "a") == 0, "who has a place keeps it"
    limits.leave(x, "b")
    assert limits.enter(x, "c") == 0


def test_who_is_due_goes_before_who_comes_later():
    x = place(concurrency=1)
    limits.enter(x, "a")
    assert limits.enter(x, "waits") == 1
    slots, line = x.keys[2], x.keys[3]
    leases.client().zadd(line, {"waits": 1})
    leases.client().zadd(line, {"waits": now() - 1000})
    leases.client().delete(slots)
    assert limits.enter(x, "later") > 0
    assert limits.enter(x, "waits") == 0


def test_who_is_due_and_does_not_come_holds_nobody_up_for_ever():
    x = place(concurrency=1)
    limits.enter(x, "a")
    limits.enter(x, "gone")
    leases.client().zadd(x.keys[3], {"gone": now() - int(limits.GRACE_SECONDS * 1e6) - 1})
    limits.leave(x, "a")
    assert limits.enter(x, "later") == 0


def test_the_place_of_a_dead_holder_is_free_when_its_time_is_over():
    x = Place("tool", "x", Limit(concurrency=1), hold=60)
    assert limits.enter(x, "dead") == 0
    assert limits.enter(x, "next") > 0
    assert 0 < leases.client().zscore(x.keys[2], "dead") - now() <= 60e6
    leases.client().zadd(x.keys[2], {"dead": now()})
    assert limits.enter(x, "next") == 0


def now():
    seconds, micro = leases.client().time()
    return seconds * 1_000_000 + micro


# Steps


@pytest.mark.parametrize("in_function", [False, True])
def test_a_step_over_its_limit_goes_back_and_counts_no_failure(in_function, limited, outside, worker, clock):
    limited("charge", rate="1/h")
    graph = doing(lambda context: context.tool("charge")) if in_function else calling("charge")
    first, second = submit(graph), submit(graph)
    assert drive(first, worker).status == "completed"
    step = run_once(second, worker)
    assert (step.status, step.failures, step.error, len(outside.effects())) == ("ready", 0, None, 1)
    assert second.ledger.count() == 0
    handed_back = second.events.get(type="step_retried").data
    assert handed_back["handed_back"] == "limit of charge"
    assert 3500_000 < handed_back["after_ms"] <= 3600_000
    assert drive(second, worker).status == "running", "nobody runs it before its time"
    limited("charge", rate="")
    clock.forward(hours=1, seconds=1)
    assert (drive(second, worker).status, len(outside.effects())) == ("completed", 2)


def test_the_intent_of_a_limited_tool_does_not_ride_with_the_claim(limited, outside, worker):
    limited("charge", concurrency=1)
    graph = Graph()
    graph.function("before", "say") >> graph.tool("it", "charge")
    job = drive(submit(graph), worker)
    assert (job.status, len(outside.effects())) == ("completed", 1)
    assert usage("charge") == [
        {
            "kind": "tool",
            "name": "charge",
            "rate": "",
            "concurrency": 1,
            "calling": 0,
            "waiting": 0,
            "begun": 0,
        }
    ]


def test_a_place_is_held_while_the_call_is_made_and_left_whatever_it_ends_in(limited, outside, worker):
    limited("lookup", concurrency=1)
    seen = []

    def fail():
        seen.append(usage("lookup")[0]["calling"])
        raise ValueError("no")

    outside.before["lookup"].append(fail)
    job = submit(calling("lookup"))
    run_once(job, worker)
    assert (seen, usage("lookup")[0]["calling"], last_error(job)["type"]) == ([1], 0, "ValueError")


def test_a_recorded_result_needs_no_place(limited, outside, worker, clock):
    limited("charge", rate="1/d")

    def function(context):
        paid = context.tool("charge")
        if context.step.attempt == 1:
            raise ValueError("once more")
        return paid

    job = submit(doing(function))
    run_once(job, worker)
    clock.forward(minutes=1)
    assert (drive(job, worker).status, len(outside.effects())) == ("completed", 1)


def test_a_call_that_is_made_anew_under_another_key_takes_a_place_too(limited, outside, worker, clock):
    limited("transfer", concurrency=1)
    seen = []
    outside.verdicts.append(Absent(fencing=True))
    outside.after["transfer"].extend([lambda: None, lambda: seen.append(usage("transfer")[0]["calling"])])
    job = submit(calling("transfer"))
    with crash_at(CrashPoint.AFTER_CALL):
        run_once(job, worker)
    clock.forward(seconds=6)
    assert recovery.rescue_lost() == 1
    worker.beat()
    run_once(job, worker)
    assert (job.status, len(outside.effects()), seen) == ("completed", 2, [1])


def test_code_that_catches_everything_waits_for_its_turn_all_the_same(limited, outside, worker):
    limited("charge", rate="1/d")

    def function(context):
        try:
            return context.tool("charge")
        except Exception:
            return "without"

    drive(submit(doing(function)), worker)
    job = submit(doing(function))
    assert (run_once(job, worker).status, len(outside.effects())) == ("ready", 1)


def test_while_redis_is_away_calls_are_let_through(limited, outside, worker, settings):
    limited("charge", rate="1/d", concurrency=1)
    settings.AETHERIS = {**settings.AETHERIS, "REDIS_URL": "redis://127.0.0.1:1/0"}
    leases.client.cache_clear()
    try:
        jobs = [submit(calling("charge")) for _ in range(3)]
        assert [drive(job, worker).status for job in jobs] == ["completed"] * 3
    finally:
        leases.client.cache_clear()
        leases.breaker.reset()
    assert len(outside.effects()) == 3


def test_models_have_limits_by_name_and_share_that_of_a_pattern(settings, outside, worker):
    settings.AETHERIS = {
        **settings.AETHERIS,
        "MODEL_CLIENT": "tests.agents_app.world.complete",
        "MODEL_LIMITS": {"big-*": {"rate": "1/h"}, "*": {"concurrency": 5}},
    }

    def asking(model):
        graph = Graph()
        graph.llm("it", "hello", model=model)
        return submit(graph)

    assert drive(asking("big-1"), worker).status == "completed"
    job = asking("big-2")
    run_once(job, worker)
    assert told(job)[-1] == "step_retried"
    assert drive(asking("small"), worker).status == "completed"
    assert [each["name"] for each in usage("*", "big-*")] == ["*", "big-*"]


def test_a_limit_that_says_nothing_fails_the_step_and_says_where(settings, worker):
    settings.AETHERIS = {**settings.AETHERIS, "MODEL_LIMITS": {"*": {"rate": "often"}}}
    graph = Graph()
    graph.llm("it", "hello")
    job = submit(graph)
    assert run_once(job, worker).status == "failed"
    assert "MODEL_LIMITS, '*'" in last_error(job)["message"]
    with pytest.raises(InputInvalid):
        limits.usage()


def test_a_step_that_waits_for_its_turn_is_announced_when_it_has_come(limited, worker, clock):
    limited("charge", rate="1/h")
    drive(submit(calling("charge")), worker)
    job = submit(calling("charge"))
    step = run_once(job, worker)
    assert step.pk not in hinting.unclaimed(hinting.groups()).wanted_ids
    clock.forward(hours=1, seconds=1)
    assert step.pk in hinting.unclaimed(hinting.groups()).wanted_ids


def test_what_is_due_is_announced_by_priority(clock):
    jobs = {priority: submit(calling("charge"), priority=priority) for priority in (0, 5, -5, 9)}
    clock.forward(minutes=1)
    announced = hinting.unclaimed(hinting.groups()).wanted_ids
    assert announced == [step_of(jobs[priority]).pk for priority in (9, 5, 0, -5)]


def test_a_worker_that_goes_on_with_a_job_takes_the_ready_step_of_the_highest_priority(outside, worker):
    graph = Graph()
    first = graph.function("first", "say")
    for key, priority in (("low", -1), ("high", 7), ("middle", 3)):
        first >> graph.function(key, "say", priority=priority)
    job = submit(graph)
    run_once(job, worker, "first")
    claimed = job.events.filter(type="step_claimed").order_by("seq").values_list("step", flat=True)
    assert list(claimed) == ["first", "high", "middle", "low"]
