"""PostgreSQL drops the connection while the runtime reads for a step: nobody's failure, and nothing runs twice."""

import os
import threading

import pytest
from django.db import OperationalError, connection

from runtime import memory, outages, ports, scopes, subjobs
from runtime.graph import Graph
from runtime.incarnation import Incarnation
from runtime.models import Job
from runtime.ports import CrashPoint
from tests.engine.driving import doing, run_once, step_of, submit

pytestmark = pytest.mark.pg_slice


def cut(point: CrashPoint | None = None) -> None:
    """End the server's side of this thread's connection."""
    connection.ensure_connection()
    pid = connection.connection.info.backend_pid
    other = connection.copy()
    try:
        with other.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s)", [pid])
            while cursor.execute("SELECT FROM pg_stat_activity WHERE pid = %s", [pid]).rowcount:
                pass  # it hears of it within a moment
    finally:
        other.close()


def looking_back() -> Graph:
    """A line in which every step refers to the first one."""
    graph = Graph()
    first = previous = graph.function("first", "add", one=1)
    for number in range(5):
        previous = graph.function(f"s{number}", "add", one=first, other=previous)
    return graph


@pytest.mark.parametrize("when", [CrashPoint.AFTER_CLAIM, CrashPoint.BEFORE_RECORD])
def test_the_inputs_of_a_step_are_read_through_an_outage(when, worker, monkeypatch):
    monkeypatch.setattr(memory, "MOST_BYTES", 1)  # so that what is older is read again
    ports.crash_hook = lambda point: cut() if point is when else None
    job = submit(looking_back())
    run_once(job, worker, "first")
    assert (job.status, job.result) == ("completed", 12)
    assert {(step.attempt, step.failures) for step in job.steps.all()} == {(1, 0)}


def cut_before(monkeypatch, module, name):
    """The connection is gone as this function is called for the first time."""
    real = getattr(module, name)

    def gone(*args, **keys):
        monkeypatch.setattr(module, name, real)
        cut()
        return real(*args, **keys)

    monkeypatch.setattr(module, name, gone)


@pytest.mark.parametrize("name", ["begin", "go_on", "is_told"])
def test_a_subjob_is_begun_and_looked_at_through_an_outage(name, drive, worker, monkeypatch):
    graph = Graph()
    graph.subjob("sub", "echo", input=7)
    job = submit(graph)
    cut_before(monkeypatch, subjobs, name)
    run_once(job, worker, "sub")
    assert job.status == "waiting"
    child = Job.objects.get(parent_step__job=job)
    drive(child)
    cut_before(monkeypatch, subjobs, name)
    run_once(job, worker, "sub")
    assert (job.status, job.result, Job.objects.count()) == ("completed", 7, 2)
    assert step_of(job, "sub").failures == 0


def test_the_copies_of_a_map_are_collected_through_an_outage(drive, worker, monkeypatch):
    body = Graph()
    body.function("each", "say", value="${item}")
    graph = Graph()
    graph.map("all", "${input}", body.build())
    job = submit(graph, [1, 2])
    cut_before(monkeypatch, scopes, "_results")
    assert drive(job).result == [1, 2]
    assert step_of(job, "all").failures == 0


def test_recorded_values_are_read_through_an_outage(worker, clock):
    def draws(context):
        if context.step.attempt == 2:
            cut()
        value = context.random()
        if context.step.attempt == 1:
            context.tool("lookup")
            raise ValueError(value)
        return value

    job = submit(doing(draws))
    run_once(job, worker)
    drawn = float((step_of(job).error or {})["message"])
    clock.forward(minutes=1)
    run_once(job, worker)
    assert (job.status, job.result) == ("completed", drawn)
    assert step_of(job).failures == 1, "its own"


def test_a_read_that_cannot_succeed_later_is_not_repeated(worker):
    asked = []

    def question() -> None:
        asked.append(1)
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1/0")

    with pytest.raises(Exception, match="division by zero"):
        outages.wait_out(question)
    assert len(asked) == 1


def test_an_outage_that_lasts_is_told_in_the_end(worker, monkeypatch):
    monkeypatch.setattr(outages, "RECONNECT_SECONDS", 0.2)

    def question() -> None:
        raise OperationalError("server closed the connection unexpectedly")

    with pytest.raises(OperationalError):
        outages.wait_out(question)


def test_a_process_that_is_told_to_end_does_though_the_database_does_not_answer(
    outside, settings, monkeypatch
):
    settings.AETHERIS = {**settings.AETHERIS, "DRAIN_SECONDS": 0.2, "LEASE_SECONDS": 0.3}
    worker, silence, ended = Incarnation(name="told to end"), threading.Event(), threading.Event()
    worker.start()
    monkeypatch.setattr(os, "_exit", lambda code: ended.set())
    monkeypatch.setattr(worker, "_beat", lambda **keys: silence.wait())
    monkeypatch.setattr(worker, "hand_back", lambda why: silence.wait())
    worker.drain()
    assert ended.wait(60)
    silence.set()
    worker.stop()
