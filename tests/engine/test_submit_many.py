# ruff: noqa: B023 - each round is over before the next one begins
"""Many jobs at once: each begins as if it had been submitted alone, or is refused alone, and few transactions do it."""

from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext

from runtime import backlog, batches, leases
from runtime.exceptions import AgentNotFound, IdempotencyConflict, InputInvalid
from runtime.graph import Graph, GraphInvalid
from runtime.models import Blob, Job
from tests.engine.driving import Threads, drive, submit, told

pytestmark = pytest.mark.pg_slice


def begun(requests, **keys) -> list[Job]:
    """The jobs, where none is refused."""
    answers = Job.objects.submit_many(requests, **keys)
    assert all(isinstance(answer, Job) for answer in answers)
    return [answer for answer in answers if isinstance(answer, Job)]


def test_each_is_the_job_that_it_would_be_alone(worker):
    alone = Job.objects.submit("echo", {"n": 0}, queue="background", by="ada")
    jobs = begun(({"agent": "echo", "input": {"n": n}, "queue": "background"} for n in range(120)), by="ada")
    assert len({job.pk for job in jobs}) == 120
    assert [Job.objects.get(pk=job.pk).input for job in jobs] == [{"n": n} for n in range(120)]
    for job in (jobs[0], jobs[-1]):
        same = ("queue", "submitted_by", "graph_digest", "total_steps", "status", "ready_steps", "priority")
        job = Job.objects.get(pk=job.pk)
        assert [getattr(job, name) for name in same] == [getattr(alone, name) for name in same]
        assert told(job) == told(alone)
        assert drive(job, worker).result == {"n": job.input["n"]}


def test_what_is_refused_takes_nothing_along():
    first = Job.objects.submit("echo", 1, idempotency_key="used")
    graph = Graph()
    graph.function("a", "say")
    answers: list[Any] = Job.objects.submit_many(
        [
            {"agent": "echo", "input": 1},
            {"agent": "nobody"},
            {"agent": "echo", "input": "\ud800"},
            {"agent": "echo", "input": 2, "idempotency_key": "used"},
            {"agent": "echo", "input": 1, "idempotency_key": "used"},
            {"graph": {"nodes": []}},
            {"graph": graph.build()},
            {"agent": "echo", "queue": "nowhere"},
            {"agent": "echo", "input": 3, "idempotency_key": "twice"},
            {"agent": "echo", "input": 3, "idempotency_key": "twice"},
        ]
    )
    kinds = [type(answer) for answer in answers]
    assert kinds == [
        *(Job, AgentNotFound, InputInvalid, IdempotencyConflict, Job),
        *(GraphInvalid, Job, InputInvalid, Job, Job),
    ]
    assert answers[4] == first and answers[4].is_repeat
    assert answers[8] == answers[9]
    assert [job.is_repeat for job in answers[8:]].count(True) == 1
    assert Job.objects.count() == 4


def test_many_take_few_statements_the_first_ones_soon_and_a_graph_goes_once_with_each(monkeypatch):
    calls: list[list[str]] = []
    real = batches._call

    def call(some):
        calls.append(list(some))
        return real(calls[-1])

    monkeypatch.setattr(batches, "_call", call)
    monkeypatch.setattr(backlog, "check", lambda queue: None)  # it looks at most once a second
    with CaptureQueriesContext(connection) as queries:
        Job.objects.submit_many({"agent": "echo", "input": n} for n in range(120))
    assert len(queries) == 0, "beside those that are prepared"
    assert [len(texts) for texts in calls] == [8, 16, 32, 50, 14]
    digest = Job.objects.values_list("graph_digest", flat=True).distinct().get()
    for texts in calls:
        assert [f'"blobs":{{"{digest}"' in text for text in texts] == [True] + [False] * (len(texts) - 1)
    assert Blob.objects.filter(digest=digest).count() == 1


def test_what_is_no_request_is_refused_before_anything_begins():
    with pytest.raises(TypeError, match="agnt"):
        Job.objects.submit_many([*({"agent": "echo"} for _ in range(20)), {"agnt": "echo"}])
    assert not Job.objects.exists()


def test_workers_are_told_by_few_messages():
    Job.objects.submit_many({"agent": "echo"} for _ in range(150))
    assert leases.queue_depths(["default"])["default"] == 3 * 50


def test_large_inputs_are_kept_apart_as_ever(settings):
    settings.AETHERIS = {**settings.AETHERIS, "INLINE_VALUE_BYTES": 1000}
    large = {"text": "x" * 5000}
    jobs = begun([{"agent": "echo", "input": large}, {"agent": "echo", "input": large}])
    assert [Job.objects.get(pk=job.pk).input for job in jobs] == [large, large]


@pytest.mark.parametrize("happened", [True, False])
def test_each_begins_once_though_the_answer_is_lost(happened, monkeypatch):
    real = batches._call

    def call(texts):
        monkeypatch.setattr(batches, "_call", real)
        if happened:
            real(texts)
        raise OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr(batches, "_call", call)
    jobs = begun({"agent": "echo", "input": n} for n in range(5))
    assert sorted(job.pk for job in jobs) == sorted(Job.objects.values_list("pk", flat=True))
    assert len(jobs) == 5


def test_the_same_keys_from_two_sides_begin_once_and_nobody_waits_for_ever(pair: Threads):
    for number in range(5):
        keys = [{"agent": "echo", "idempotency_key": f"{number}-{n}"} for n in range(20)]
        one, two = pair.at_once(
            lambda: begun(keys),
            lambda: begun(keys[::-1]),
        )
        assert {job.pk for job in one} == {job.pk for job in two}
        assert Job.objects.count() == 20 * (number + 1)


def test_a_submitted_job_is_known_without_being_read(monkeypatch):
    graph = Graph()
    graph.function("a", "say")
    monkeypatch.setattr(backlog, "check", lambda queue: None)  # it looks at most once a second
    with CaptureQueriesContext(connection) as queries:
        job = submit(graph, queue="background")
        assert (job.agent, job.queue, job.requires) == ("graph", "background", [])
    assert len(queries) == 0
    assert job.status == "pending"
    assert Job.objects.get(pk=job.pk) == job
