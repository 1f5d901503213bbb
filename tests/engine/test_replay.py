"""Verify runs what was recorded again: the same effects in, the same ending out, and nothing leaves."""

import itertools
import random
import socket
import time
import uuid
from datetime import timedelta

import pytest
from django.db import connection

from runtime import recovery, replays
from runtime.exceptions import CallRefused, Permanent
from runtime.graph import Graph
from runtime.models import Step, Worker
from runtime.outcomes import Completed, Waiting
from tests.agents_app.world import world
from tests.engine.driving import doing, run_once, step_of, submit
from tests.engine.scoped import body, mapping
from tools import NotSent, Refused

visits = itertools.count()


def pays(context, **inputs):
    drawn = [context.now().isoformat(), context.random(), str(context.uuid4())]
    return [context.tool("pay", amount=3.0), drawn, context.record("mine", lambda: next(visits))]


def verified(job, **keys):
    """A verification that found nothing."""
    found = replays.verify(job, **keys)
    assert found.is_good, (found.faults, str(found.first_divergence))
    return found


def divergence(job, **keys):
    found = replays.verify(job, **keys)
    assert not found.faults and not found.is_good
    return found.first_divergence


@pytest.fixture
def model(settings):
    settings.AETHERIS = {**settings.AETHERIS, "MODEL_CLIENT": "tests.agents_app.world.complete"}


def test_what_was_recorded_is_injected_and_nothing_is_called_or_written(drive):
    job = drive(submit(doing(pays)))
    before, calls = job.seq, list(world.calls)

    found = verified(job)

    job.refresh_from_db()
    assert (found.events, found.attempts, found.effects) == (before, 1, 5)
    assert (job.seq, world.calls) == (before, calls)


def test_no_socket_is_opened(drive, monkeypatch):
    job = drive(submit(doing(pays)))

    def refuse(*args, **keys):
        raise AssertionError("a socket was opened")

    for name in ("socket", "create_connection", "getaddrinfo"):
        monkeypatch.setattr(socket, name, refuse)
    verified(job)


def test_kinds_that_wait_ask_and_decide_run_again(drive, clock, model):
    graph = Graph()
    first = graph.function("first", "say", value=[1, 2, 3])
    later = graph.function("later", "say_later", value=first)
    big = graph.condition("big", "size(first) > 2")
    pause = graph.timer("pause", "1h")
    asked = graph.llm("asked", prompt="How many? ${later}")
    told = graph.wait("told", signal="go")
    paid = graph.tool("paid", "pay", amount="${told.amount}")
    first >> [big, later]
    big.when(True) >> pause
    [pause, later] >> asked >> told >> paid
    job = drive(submit(graph))
    clock.forward(hours=2)
    recovery.wake_due()
    drive(job)
    job.signal("go", {"amount": 5})
    assert drive(job).status == "completed"

    found = verified(job)
    assert (found.attempts, found.effects) == (9, 2)  # two of them twice: until they waited, and after


def test_steps_of_maps_plans_and_spawns_run_again(drive):
    added = Graph()
    added.function("more", "add", one=4)
    world.doings["spawn"] = lambda context: Completed(1, spawn=added)
    world.doings["plan"] = lambda context: body(value="planned")
    graph = mapping()
    graph.function("spawner", "do", what="spawn")
    graph.plan("planned", "do", inputs={"what": "plan"})
    job = drive(submit(graph, [1, 2, 3]))
    assert job.status == "completed"
    assert verified(job).attempts == 3 + 2 + 2 + 2 + 1

    world.doings["plan"] = lambda context: body(value="another")
    assert divergence(job).what == "plan"


def test_subjobs_are_verified_with_their_parents(drive):
    graph = Graph()
    graph.subjob("child", "charge", input={"amount": 7})
    job = drive(submit(graph))
    child = job.steps.get().subjobs.get()
    drive(child)
    drive(job)

    found = verified(job)
    assert [(one.job, one.effects) for one in found.subjobs] == [(child.pk, 1)]

    Step.objects.filter(job=child).update(config={"tool": "charge", "inputs": {"amount": 8.0}})
    found = divergence(job)
    assert (found.job, found.step, found.what) == (child.pk, "charge", "effect")
    Step.objects.filter(job=child).update(config={"tool": "charge", "inputs": {"amount": "${input.amount}"}})


def test_the_attempt_that_ended_the_step_is_run_with_what_those_before_it_recorded(drive, worker):
    def careful(context):
        drawn = context.random()
        paid = context.tool("pay", amount=drawn)
        try:
            context.tool("charge", amount=9.0)
        except CallRefused as refused:
            return [paid, refused.error["type"], context.step.attempt]
        return paid

    world.before["charge"].append(Refused("closed"))
    world.before["pay"].append(NotSent("try again"))
    job = submit(doing(careful))
    run_once(job, worker)
    Step.objects.filter(job=job).update(run_after=None)
    assert drive(job).result[1:] == ["Refused", 2]

    found = verified(job)
    assert (found.attempts, found.effects) == (1, 3)


def test_a_parked_step_is_run_with_what_woke_it(drive):
    def asks(context):
        if context.resume is None:
            context.tool("notify", to="ada")
            return Waiting("signal", "answer", timeout=timedelta(days=1))
        return [context.resume["payload"], context.tool("notify", to="ada")]

    job = drive(submit(doing(asks)))
    job.signal("answer", {"yes": 1})
    drive(job)
    assert (verified(job).attempts, job.result[0]) == (2, {"yes": 1})

    def asks_another(context):
        return Waiting("signal", "answers", timeout=timedelta(days=1)) if context.resume is None else 1

    world.doings["it"] = asks_another
    found = divergence(job)
    assert (found.attempt, found.what, found.expected) == (1, "effect", "call notify")


def test_what_a_failed_step_failed_of_is_compared(drive):
    def fails(context):
        raise Permanent(f"no money at {object()}")

    job = drive(submit(doing(fails)))
    assert job.status == "failed"
    verified(job)

    def fails_otherwise(context):
        raise Permanent("no idea")

    world.doings["it"] = fails_otherwise
    found = divergence(job)
    assert (found.what, found.got) == ("error", "Permanent: no idea")


def test_what_lost_workers_and_retries_left_behind_is_no_ending_of_their_steps(drive, worker):
    tries = itertools.count()

    def shaky(context):
        if next(tries) == 0:
            raise OSError("the disk was away")
        return "done"

    job = submit(doing(shaky))
    run_once(job, worker)
    step = step_of(job)
    Step.objects.filter(pk=step.pk).update(run_after=None)
    step.claim(worker.id)
    step.rescue()
    assert drive(job).result == "done"
    assert verified(job).attempts == 1


def test_a_fork_is_verified_with_what_it_took_over(drive):
    graph = Graph()
    first = graph.function("first", "say", value="${input}")
    graph.function("second", "say", value=first)
    job = drive(submit(graph, {"a": 1}))
    fork = drive(job.fork("second"))
    assert fork.result == {"a": 1}
    assert verified(fork).attempts == 1


def test_a_job_that_was_reopened_is_verified(drive):
    def fails(context):
        raise Permanent("not yet")

    job = drive(submit(doing(fails)))
    world.doings["it"] = lambda context: "mended"
    job.retry()
    assert drive(job).result == "mended"
    found = divergence(job)  # the code that failed is not there any more
    assert (found.attempt, found.what) == (1, "ending")


# Steps that do not repeat themselves: what ran first, what runs now, and what is said of it


def _twice(context):
    return [context.tool("pay", amount=1.0), context.tool("notify", to="a")]


def _swapped(context):
    return [context.tool("notify", to="a"), context.tool("pay", amount=1.0)][::-1]


def _cautious(context):
    try:
        return context.tool("pay", amount=float(next(visits)))
    except Exception:
        return {"paid": 1.0}


def _sockets(context):
    with socket.socket() as opened:
        opened.connect(("127.0.0.1", 9))


def _writes(context):
    Worker.objects.all().delete()


def _writes_unseen(context):
    with connection.cursor() as cursor:
        cursor.execute("WITH gone AS (DELETE FROM aetheris_worker RETURNING 1) SELECT count(*) FROM gone")


def _spins(context):
    while True:
        pass


def _spins_on(context):
    while True:
        try:
            time.perf_counter_ns  # noqa: B018 - keeps busy
        except Exception:
            continue


PAYS_ONE = {"paid": 1.0}
CORPUS = [
    ("the clock", lambda c: 1, lambda c: time.time(), "contract", "time.time"),
    ("chance", lambda c: 1, lambda c: random.random(), "contract", "random.random"),
    ("an id", lambda c: 1, lambda c: str(uuid.uuid4()), "contract", "uuid.uuid4"),
    ("a socket", lambda c: 1, _sockets, "contract", "socket.connect"),
    ("a row", lambda c: 1, _writes, "contract", "DELETE"),
    ("a row unseen", lambda c: 1, _writes_unseen, "ending", "read-only"),
    ("a counter", lambda c: next(visits), lambda c: next(visits), "result", ""),
    ("another result", lambda c: {"a": 1}, lambda c: {"a": 2}, "result", '{"a":2}'),
    ("another type", lambda c: 1, lambda c: "1", "result", '"1"'),
    ("another branch", lambda c: Completed(1, "a"), lambda c: Completed(1, "b"), "branch", "b"),
    ("no result", lambda c: 1, lambda c: None, "result", "null"),
    ("an error", lambda c: 1, lambda c: 1 // 0, "ending", "ZeroDivisionError"),
    ("a wait", lambda c: 1, lambda c: Waiting("signal", "go"), "ending", "signal go"),
    ("a call more", lambda c: 1, lambda c: c.tool("pay", amount=1.0) and 1, "effect", "tool pay"),
    ("a call less", lambda c: c.tool("pay", amount=1.0), lambda c: PAYS_ONE, "effect", "its end"),
    (
        "other arguments",
        lambda c: c.tool("pay", amount=1.0),
        lambda c: c.tool("pay", amount=2.0),
        "effect",
        "2.0",
    ),
    (
        "another tool",
        lambda c: c.tool("pay", amount=1.0),
        lambda c: c.tool("charge", amount=1.0),
        "effect",
        "tool charge",
    ),
    (
        "the same name, another tool",
        lambda c: c.call_tool("pay", {"amount": 1.0}, call="it"),
        lambda c: c.call_tool("charge", {"amount": 1.0}, call="it"),
        "effect",
        "of charge",
    ),
    ("another order", _twice, _swapped, "effect", "notify"),
    ("a caught divergence", _cautious, _cautious, "effect", "tool pay"),
    ("a value more", lambda c: 1, lambda c: c.random() and 1, "effect", "value random"),
    ("a value less", lambda c: c.random() and 1, lambda c: 1, "effect", "its end"),
    (
        "another value",
        lambda c: c.record("a", lambda: 1),
        lambda c: c.record("b", lambda: 1),
        "effect",
        "value b",
    ),
    (
        "a value between calls",
        _twice,
        lambda c: [c.tool("pay", amount=1.0), c.random(), c.tool("notify", to="a")],
        "effect",
        "value random",
    ),
    ("a spawn more", lambda c: Completed(1), lambda c: Completed(1, spawn=body(value=2)), "plan", "graph"),
    (
        "another spawn",
        lambda c: Completed(1, spawn=body(value=1)),
        lambda c: Completed(1, spawn=body(value=2)),
        "plan",
        "graph",
    ),
    (
        "the order of keys",
        lambda c: list(c.record("it", lambda: {"long": 1, "b": 2})),
        lambda c: list(c.record("it", lambda: {})),
        "result",
        '["b","long"]',
    ),
    ("the attempt", lambda c: id(c), lambda c: id(c.names), "result", ""),
    ("no end", lambda c: 1, _spins, "time", "still running"),
    ("no end with a net", lambda c: 1, _spins_on, "time", "still running"),
]


@pytest.mark.parametrize(
    ("first", "now", "what", "got"), [case[1:] for case in CORPUS], ids=[case[0] for case in CORPUS]
)
def test_the_first_divergence_is_named(first, now, what, got, drive):
    graph = doing(first, id="a")
    world.doings["b"] = lambda context: "after"
    graph.function("b", "do", what="b")
    job = drive(submit(graph))
    world.doings["a"], calls = now, len(world.calls)

    found = divergence(job, seconds=1 if what == "time" else 60)

    assert (found.job, found.step, found.attempt, found.what) == (job.pk, "a", 1, what)
    assert got in found.got
    assert job.events.get(seq=found.event).type == "step_completed"
    assert len(world.calls) == calls


# The record itself


def tamper(sql, *arguments):
    """As somebody could who owns the database."""
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")
        cursor.execute(sql, arguments)
        cursor.execute("RESET session_replication_role")


@pytest.mark.parametrize(
    ("sql", "undo", "event", "code"),
    [
        (
            "UPDATE aetheris_event_part SET value = '{\"paid\": 4}' WHERE name = 'tool.result'",
            "UPDATE aetheris_event_part SET value = '{\"paid\": 3}' WHERE name = 'tool.result'",
            5,
            "part_changed",
        ),
        (
            "UPDATE aetheris_event SET digest = sha256('other') WHERE seq = 4",
            "UPDATE aetheris_event SET digest = sha256('\\x00'::bytea || header) WHERE seq = 4",
            4,
            "digest",
        ),
        (
            "UPDATE aetheris_event SET seq = 99 WHERE seq = 7",
            "UPDATE aetheris_event SET seq = 7 WHERE seq = 99",
            7,
            "head",
        ),
    ],
)
def test_a_record_that_was_changed_is_told_by_event_and_not_run(sql, undo, event, code, drive):
    job = drive(submit(doing(lambda context: context.tool("pay", amount=3))))
    assert job.seq == 7
    tamper(sql)
    found = replays.verify(job)
    tamper(undo)
    assert not found.is_good and found.attempts == 0
    assert (found.faults[0]["event"], found.faults[0]["code"]) == (event, code)
    verified(job)


def test_a_step_whose_payload_was_erased_is_left_out_and_counted(drive, monkeypatch):
    job = drive(submit(doing(lambda context: context.tool("pay", amount=3))))
    monkeypatch.setattr(replays.verifying, "chain_faults", lambda job: [])
    tamper("DELETE FROM aetheris_event_part WHERE name = 'tool.result' AND seq < 7")
    found = replays.verify(job)
    assert (found.is_good, found.attempts, found.left_out) == (True, 0, {"withheld": 1})
    tamper("DELETE FROM aetheris_event WHERE true; DELETE FROM aetheris_event_part WHERE true")
    tamper("DELETE FROM aetheris_ledger_entry WHERE true; DELETE FROM aetheris_edge WHERE true")
    tamper("DELETE FROM aetheris_step WHERE true; DELETE FROM aetheris_job WHERE true")
