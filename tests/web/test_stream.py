"""A job as server-sent events."""

import json
import threading
import time

import pytest
from django.core.signals import request_finished
from django.db import close_old_connections
from redis import Redis

from runtime import live, watching
from runtime.graph import Graph
from runtime.models import Job
from tests.engine.driving import submit
from tests.web.test_api import fields, problem


def events(answer):
    """What a stream said: (event, id, data) of each."""
    blocks = b"".join(answer.streaming_content).decode().split("\n\n")
    found = [dict(line.split(": ", 1) for line in block.split("\n") if line) for block in blocks if block]
    return [(one["event"], one["id"], json.loads(one["data"])) for one in found if "event" in one]


def asking(prompt="ping"):
    graph = Graph()
    graph.llm("it", prompt, stream=True)
    return graph


def streamed(api, role, job, after=None):
    headers = {"Accept": "text/event-stream", **({"Last-Event-ID": after} if after else {})}
    return api(role).client.get(f"/api/v1/jobs/{job.pk}/stream", headers=headers)


@pytest.fixture(autouse=True)
def redis_is_trusted_again(monkeypatch):
    live.breaker.reset()
    monkeypatch.setattr(live, "_writer", live._reader)  # which is patient


def test_a_stream_tells_the_events_the_text_and_the_end(api, model, go_on):
    job = go_on(submit(asking()))
    answer = streamed(api, "operator", job)
    assert (answer.status_code, answer["Content-Type"]) == (200, "text/event-stream")
    told = events(answer)
    assert [data["type"] for name, _, data in told if name == "event"] == list(
        job.events.values_list("type", flat=True)
    )
    texts = [data for name, _, data in told if name == "text"]
    assert texts == [{"step": "it", "attempt": 1, "call": "llm.0", "offset": 0, "text": "OK"}]
    assert told[-1][0::2] == ("end", {"status": "completed"})


def test_who_comes_back_gets_what_follows(api, model, go_on):
    job = go_on(submit(asking()))
    told = events(streamed(api, "operator", job))
    middle = next(id for name, id, data in told if name == "event" and data["type"] == "model_called")
    rest = events(streamed(api, "operator", job, after=middle))
    assert [data.get("type", name) for name, _, data in rest] == [
        "model_returned", "step_completed", "job_completed", "end",
    ]  # fmt: skip
    assert streamed(api, "operator", job, after=told[-1][1]).status_code == 204


def test_who_may_not_see_payloads_sees_no_text(api, model, go_on):
    job = go_on(submit(asking()))
    told = events(streamed(api, "viewer", job))
    assert {name for name, *_ in told} == {"event", "end"}
    assert all(value is None for _, _, data in told for value in data.get("parts", {}).values())


def test_a_job_that_is_nobodys_business_is_not_streamed(api, job_of):
    problem(streamed(api, "submitter", job_of("echo", 1)), 404, "not-found")
    assert streamed(api, None, job_of("echo", 1)).status_code == 401


@pytest.mark.parametrize("id", ["x", "1/2", "-1", "1/0-0/0", "9" * 30])
def test_an_id_of_another_stream_is_refused(api, job_of, id):
    assert fields(problem(streamed(api, "operator", job_of("echo", 1), after=id), 422, "invalid-input")) == [
        "Last-Event-ID"
    ]


def test_places_are_bounded_and_given_back(api, job_of, settings):
    settings.AETHERIS = settings.AETHERIS | {"STREAMS": 1}
    job = job_of("echo", 1)
    first = streamed(api, "operator", job)
    refused = streamed(api, "operator", job)
    problem(refused, 429, "too-many-requests")
    assert refused["Retry-After"] == "5"
    request_finished.disconnect(close_old_connections)  # as the client does when all was read
    first.close()
    request_finished.connect(close_old_connections)
    assert watching.seats.taken == 0
    assert events(streamed(api, "operator", job))


def test_a_stream_of_a_job_that_waits_ends_after_its_time_and_shows_that_it_lives(
    api, job_of, settings, monkeypatch
):
    settings.AETHERIS = settings.AETHERIS | {"STREAM_SECONDS": 1.0}
    monkeypatch.setattr(watching, "TICK_SECONDS", 0.05)
    monkeypatch.setattr(watching, "QUIET_SECONDS", 0.05)
    graph = Graph()
    graph.wait("w", "never")
    job = submit(graph)
    answer = streamed(api, "operator", job)
    text = b"".join(answer.streaming_content).decode()
    assert ": still here\n\n" in text
    assert "event: end" not in text, "it comes back"


def test_without_redis_the_events_are_told_all_the_same(api, model, go_on, monkeypatch):
    job = go_on(submit(asking()))
    monkeypatch.setattr(live, "_reader", lambda: Redis(host="127.0.0.1", port=1))
    told = events(streamed(api, "operator", job))
    assert {name for name, *_ in told} == {"event", "end"}


def test_who_watches_is_told_at_once(outside):
    job = submit(asking("a poem"))
    telling = live.Telling(job.pk, "it", 1, "llm.0")
    began = time.monotonic()
    writer = threading.Timer(0.2, lambda: telling.tell("Roses"))
    writer.start()
    news = watching.watch(Job.objects.get(pk=job.pk), watching.Place(job.seq), payloads=True)
    place, piece = next(news)
    writer.join()
    assert isinstance(piece, live.Piece)
    assert (piece.text, piece.attempt, place.seq) == ("Roses", 1, job.seq)
    assert time.monotonic() - began < 30, "it need not wait for the end of the stream"
    news.close()
