"""`assert_replays`: the same twice, and the place where something reached past the context."""

import asyncio
import datetime
import logging
import os
import random
import secrets
import socket
import subprocess
import sys
import threading
import time
import urllib.request
import uuid
from typing import Any

import httpx
import pytest
from django.utils import timezone

from runtime.agents import StepFunction
from runtime.contract import ContractViolated, ReplayDiverged, ToolNotGiven, assert_replays
from runtime.exceptions import CallInDoubt, CallRefused, InputInvalid, Permanent
from runtime.outcomes import Completed, Waiting
from tests.agents_app.agents import say
from tools import Refused

counter = iter(range(1_000_000))


def runs(step: Any, input: dict[str, Any] | None = None, **keys: Any) -> Any:
    """Without the validator, so that what the guard sees is seen by the guard."""
    return assert_replays(step, input, validate=False, **keys)


# What replays


def test_the_result_of_a_step_that_replays_is_returned():
    def score(context, amount, limit=10):
        return {"large": amount > limit, "input": context.input["amount"]}

    assert assert_replays(score, {"amount": 20}) == {"large": True, "input": 20}


def test_what_is_read_is_what_the_test_gives():
    def read(context):
        return context.http("get", "https://example.org/", params={"a": 1})["body"]

    assert assert_replays(read, http=lambda method, url: f"{method} {url}") == "GET https://example.org/?a=1"
    with pytest.raises(ToolNotGiven, match="http=lambda method, url"):
        assert_replays(read)


def test_clock_chance_and_identity_of_the_context_are_the_same_both_times():
    seen = []

    def draw(context):
        seen.append(
            [context.now(), context.random(), context.uuid4(), context.record("n", lambda: next(counter))]
        )
        return [str(value) for value in seen[-1]]

    assert_replays(draw, validate=False)

    assert seen[0] == seen[1]


def test_a_tool_is_asked_once_and_answers_twice():
    asked = []

    def pay(context, amount):
        first = context.tool("charge", amount=amount)
        second = context.tool("charge", amount=amount + 1)
        return [first["charged"], second["charged"]]

    def charge(amount):
        asked.append(amount)
        return {"charged": amount}

    assert assert_replays(pay, {"amount": 1.0}, tools={"charge": charge}) == [1.0, 2.0]
    assert asked == [1.0, 2.0]


def test_a_tool_may_use_what_a_step_may_not():
    def work(context):
        return context.tool("lookup", name="x")

    result = assert_replays(work, tools={"lookup": lambda name: {"at": time.time(), "id": str(uuid.uuid4())}})

    assert result["at"] > 0


def test_a_model_is_asked_once():
    asked = []

    def advise(context, question):
        return context.model({"model": "m", "messages": [{"role": "user", "content": question}]})["content"]

    def model(request):
        asked.append(request)
        return "refund"

    assert assert_replays(advise, {"question": "?"}, model=model) == "refund"
    assert len(asked) == 1


def test_coroutines_replay():
    async def work(context, value):
        await asyncio.sleep(0)
        return [value, context.tool("charge", amount=1.0)]

    assert runs(work, {"value": 1}, tools={"charge": 7}) == [1, 7]


def test_registered_steps_and_outcomes():
    assert assert_replays(say, {"value": [1]}) == [1]
    assert assert_replays(lambda context: Completed(1, branch="a")) == Completed(1, branch="a")
    assert assert_replays(lambda context: Waiting(kind="signal", name="x")) == Waiting(
        kind="signal", name="x"
    )


def test_a_step_that_was_resumed():
    def work(context):
        return context.resume["payload"]

    assert assert_replays(work, resume={"outcome": "signalled", "payload": 5}) == 5


def test_what_a_step_tells_is_no_part_of_it():
    def work(context):
        context.emit("attempt", context.step.attempt)
        context.progress(0.1 * context.step.attempt)
        return 1

    assert assert_replays(work) == 1


def test_logging_may_read_the_clock():
    def work(context):
        logging.getLogger("any").warning("hello")
        return 1

    assert assert_replays(work) == 1


def test_a_seeded_generator_replays():
    def work(context, items, seed):
        return random.Random(seed).sample(items, 2)

    assert len(assert_replays(work, {"items": [1, 2, 3], "seed": 5})) == 2


# What does not


def test_a_counter_in_the_module_diverges_in_the_result():
    def work(context):
        return next(counter)

    with pytest.raises(ReplayDiverged, match="in its result the first run had") as raised:
        runs(work)
    assert raised.value.position == 0


def test_arguments_that_change_diverge_at_their_call():
    def work(context):
        context.tool("lookup", name="fixed")
        context.tool("charge", amount=next(counter))

    with pytest.raises(
        ReplayDiverged, match=r"at effect 2 the first run had tool charge\(\{\"amount\":"
    ) as raised:
        runs(work, tools={"lookup": None, "charge": None})
    assert raised.value.position == 2


def test_a_call_more_or_less_diverges():
    def less(context):
        context.tool("lookup", name="a")
        if context.step.attempt == 1:
            context.tool("charge", amount=1.0)

    def more(context):
        context.now()
        if context.step.attempt == 2:
            context.uuid4()

    with pytest.raises(ReplayDiverged, match="the second its end"):
        runs(less, tools={"lookup": 1, "charge": 1})
    with pytest.raises(ReplayDiverged, match="had its end, the second value uuid4"):
        runs(more)


def test_another_order_diverges():
    def work(context):
        names = ["a", "b"] if context.step.attempt == 1 else ["b", "a"]
        for name in names:
            context.tool("lookup", name=name)

    with pytest.raises(ReplayDiverged, match="at effect 1"):
        runs(work, tools={"lookup": 1})


def test_a_divergence_that_the_step_catches_is_told_all_the_same():
    def work(context):
        try:
            return context.tool("charge", amount=next(counter))
        except Exception:
            return 1

    with pytest.raises(ReplayDiverged):
        runs(work, tools={"charge": 1})


def test_an_order_of_keys_that_the_database_does_not_keep_diverges():
    """jsonb puts shorter keys first."""

    def work(context):
        return list(context.tool("lookup", name="x"))

    with pytest.raises(ReplayDiverged, match=r'the first run had \["long","a"\], the second \["a","long"\]'):
        assert_replays(work, tools={"lookup": {"long": 1, "a": 2}})


def test_an_input_that_the_step_changes_is_the_same_the_second_time():
    def work(context, items):
        items.append(1)
        return len(items)

    assert assert_replays(work, {"items": []}) == 1


# What ends in an error


def test_an_error_that_comes_both_times_is_raised():
    def work(context):
        raise Permanent("never")

    with pytest.raises(Permanent, match="never"):
        assert_replays(work)


def test_an_error_that_comes_once_diverges():
    def work(context):
        if context.step.attempt == 2:
            raise Permanent("only now")

    with pytest.raises(ReplayDiverged, match="the second Permanent: only now"):
        assert_replays(work)


def test_a_refused_tool_refuses_both_times():
    def work(context):
        try:
            context.tool("charge", amount=1.0)
        except CallRefused as refused:
            return refused.error["message"]

    assert assert_replays(work, tools={"charge": Refused("no money")}) == "no money"


def test_a_tool_that_is_lost_leaves_a_doubt():
    with pytest.raises(CallInDoubt):
        assert_replays(lambda context: context.tool("charge", amount=1.0), tools={"charge": OSError("reset")})


def test_a_tool_that_the_test_says_nothing_of_is_named():
    with pytest.raises(ToolNotGiven, match=r"tools=\{'charge': lambda"):
        assert_replays(lambda context: context.tool("charge", amount=1.0))
    with pytest.raises(ToolNotGiven, match="model=lambda"):
        assert_replays(lambda context: context.model({"model": "m", "messages": []}))


def test_a_result_that_is_no_json_is_refused():
    with pytest.raises(InputInvalid, match="set"):
        assert_replays(lambda context: {1, 2})


def test_the_validator_speaks_first():
    def work(context):
        if context.step.attempt > 5:
            return time.time()

    with pytest.raises(ContractViolated, match=r"\[clock\] `time.time` reads the clock"):
        assert_replays(work)
    assert runs(work) is None


# The guard


def _now(context):
    return datetime.datetime.now().isoformat()


def _today(context):
    return datetime.date.today().isoformat()


def _django(context):
    return timezone.now().isoformat()


def _monotonic(context):
    return time.monotonic()


def _hidden(context):
    return vars(time)["ti" + "me"]()


def _random(context):
    return random.random()


def _choice(context):
    return random.choice([1, 2])


def _unseeded(context):
    return random.Random().random()


def _secret(context):
    return secrets.token_hex()


def _urandom(context):
    return os.urandom(2).hex()


def _uuid1(context):
    return str(uuid.uuid1())


def _uuid4(context):
    return str(uuid.uuid4())


def _slept(context):
    time.sleep(0)


def _connected(context):
    return socket.create_connection(("127.0.0.1", 9)).fileno()


def _resolved(context):
    return socket.getaddrinfo("localhost", 80)


def _fetched(context):
    return httpx.get("http://127.0.0.1:9").text


def _opened(context):
    return urllib.request.urlopen("http://127.0.0.1:9").status


def _process(context):
    return subprocess.run([sys.executable, "-c", ""]).returncode


def _system(context):
    return os.system("true")


def _thread(context):
    threading.Thread(target=print).start()


async def _awaited(context):
    return time.time()


@pytest.mark.parametrize(
    ("step", "code"),
    [
        *((step, "clock") for step in (_now, _today, _django, _monotonic, _hidden, _awaited)),
        *((step, "random") for step in (_random, _choice, _unseeded, _secret, _urandom, _uuid1, _uuid4)),
        *((step, "network") for step in (_connected, _resolved, _fetched, _opened)),
        *((step, "process") for step in (_process, _system)),
        (_slept, "sleep"),
        (_thread, "concurrency"),
    ],
)
def test_the_guard_raises_at_the_line_and_says_what_to_do(step, code):
    with pytest.raises(ContractViolated) as raised:
        runs(step)

    [finding] = raised.value.findings
    assert (finding.code, finding.file, finding.line) == (code, __file__, step.__code__.co_firstlineno + 1)
    assert finding.replacement


def test_a_violation_that_the_step_catches_is_told_all_the_same():
    def work(context):
        try:
            return time.time()
        except Exception:
            return 0

    with pytest.raises(ContractViolated):
        runs(work)


def test_a_suppressed_line_may():
    def work(context):
        began = time.time()  # aetheris: allow[clock] for nothing but this test
        return began > 0

    assert assert_replays(work) is True


def test_the_guard_watches_its_own_thread_only_and_leaves_nothing_behind():
    stop, read = threading.Event(), []

    def elsewhere():
        while True:
            read.append((time.time(), random.random(), uuid.uuid4()))
            if stop.wait(0.001):
                return

    thread = threading.Thread(target=elsewhere)
    thread.start()
    before = sys.getprofile()

    def work(context):
        return sum(range(20_000))

    for _ in range(5):
        runs(work)
    stop.set()
    thread.join()

    assert read
    assert sys.getprofile() is before
    assert time.time() > 0 and socket.getaddrinfo("localhost", 80)


@pytest.mark.django_db
def test_rows_may_be_read_and_not_written():
    from django.contrib.auth.models import User

    def reads(context):
        return User.objects.count()

    def writes(context):
        create = User.objects.create_user
        create("x")

    assert assert_replays(reads) == 0
    with pytest.raises(ContractViolated, match=r"\[database\] `INSERT`"):
        runs(writes)


def test_a_plain_function_has_its_name():
    def named(context):
        return next(counter)

    with pytest.raises(ReplayDiverged, match="Step 'named'"):
        runs(named)
    with pytest.raises(ReplayDiverged, match="Step 'other'"):
        runs(StepFunction("other", named))
