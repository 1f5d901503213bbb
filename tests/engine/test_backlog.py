"""Overload: a full queue refuses new jobs and keeps nothing of them; everything that was accepted ends."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from runtime import backlog, schedules
from runtime.exceptions import Overloaded
from runtime.graph import Graph
from runtime.models import Job, Step
from runtime.timetables import Scheduled
from tests.engine.driving import doing, drive, submit

MOST = 3


@pytest.fixture(autouse=True)
def a_small_queue(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    settings.AETHERIS = {**settings.AETHERIS, "MAX_READY_STEPS": MOST}
    monkeypatch.setattr(backlog, "LOOK_SECONDS", 3600.0)
    backlog.forget()
    yield
    backlog.forget()


def fill() -> list[Job]:
    accepted = [Job.objects.submit("echo", number) for number in range(MOST + 1)]
    backlog.forget()
    return accepted


def test_a_full_queue_refuses_and_keeps_nothing_and_what_it_accepted_ends(worker):
    accepted = fill()
    with pytest.raises(Overloaded, match="'default' holds more than 3 ready steps"):
        Job.objects.submit("echo", 5, idempotency_key="late")
    assert Job.objects.count() == len(accepted)
    assert Step.objects.count() == len(accepted)
    for job in accepted:
        assert drive(job, worker).status == "completed"
    backlog.forget()
    assert drive(Job.objects.submit("echo", 5, idempotency_key="late"), worker).result == 5


def test_another_queue_is_another_matter(worker):
    fill()
    assert drive(Job.objects.submit("echo", 5, queue="background"), worker).result == 5


def test_a_repetition_of_what_was_accepted_is_answered(worker):
    job = Job.objects.submit("echo", 5, idempotency_key="first")
    fill()
    again = Job.objects.submit("echo", 5, idempotency_key="first")
    assert (again.pk, again.is_repeat) == (job.pk, True)


def test_what_was_accepted_may_grow_and_begin_subjobs(worker):
    graph = Graph()
    graph.subjob("sub", "echo", input=1)
    job = submit(graph)
    fill()
    drive(job, worker)
    child = Job.objects.get(parent_step__job=job)
    drive(child, worker)
    assert drive(job, worker).status == "completed"


def test_a_schedule_ticks(worker):
    schedules.add("echo", Scheduled(name="often", every="1h", input=1), by="")
    fill()
    assert schedules.run_now(schedules.named("often"), by="").agent == "echo"


def test_without_a_limit_nobody_is_refused(settings):
    fill()
    settings.AETHERIS = {**settings.AETHERIS, "MAX_READY_STEPS": None}
    Job.objects.submit("echo", 5)


def test_a_rush_of_submits_looks_once():
    """What it costs where nothing is too much."""
    submit(doing(lambda context: 1))
    with CaptureQueriesContext(connection) as asked:
        for _ in range(20):
            submit(doing(lambda context: 1))
    assert [query["sql"] for query in asked if "OFFSET" in query["sql"]] == []
