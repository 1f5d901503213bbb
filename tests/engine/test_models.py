"""Model calls: what the ledger and the events say of them, and their text while it is being written."""

import threading
from decimal import Decimal
from typing import Any

import pytest
from redis import Redis

from runtime import live
from runtime.graph import Graph, GraphInvalid
from runtime.models import EventPart
from tests.agents_app.world import world
from tests.engine.driving import doing, entry_of, last_error, run_once, step_of, submit, told

PRICES = {"scripted-1": {"input": Decimal("2.50"), "cached": "1.25", "output": 10}}


def asking(prompt="say ok", **keys):
    graph = Graph()
    graph.llm("it", prompt, **keys)
    return graph


def says(model, match, content):
    assert model.post("/replies", json={"match": match, "content": content}).status_code == 201


def fails(model, **fault):
    assert model.post("/faults", json=fault).status_code == 201


def text_of(job):
    return [
        (piece.attempt, piece.call, piece.offset, piece.text)
        for piece in live.pieces(job.pk, live.BEGINNING, wait=0)
    ]


@pytest.fixture(autouse=True)
def redis_is_trusted_again():
    live.breaker.reset()


# What is recorded of a call


def test_a_call_is_recorded_with_its_model_tokens_and_cost(model, drive, settings):
    settings.AETHERIS = settings.AETHERIS | {"MODEL_PRICES": PRICES}
    job = drive(submit(asking("Say: one two three")))
    returned = job.events.get(type="model_returned").data
    assert (returned["provider"], returned["model"], returned["finish_reason"]) == (
        "127.0.0.1",
        "scripted-1",
        "stop",
    )
    tokens = (returned["input_tokens"], returned["output_tokens"])
    assert (tokens, returned["cost_micros"]) == ((5, 17), 183), "12.5 + 170, rounded"
    of_the_entry = {"call", "generation", "entry"}
    assert entry_of(job).usage == {name: returned[name] for name in returned.keys() - of_the_entry}
    assert job.ledger.usage() == {
        "calls": 1, "input_tokens": tokens[0], "cached_tokens": 0, "output_tokens": tokens[1],
        "cost_micros": returned["cost_micros"],
    }  # fmt: skip


def test_where_an_answer_comes_from_is_a_payload_of_its_event(model, drive):
    job = drive(submit(asking(temperature=0.2)))
    told: Any = EventPart.objects.get(job=job, name="provenance").value
    assert (told["gen_ai.request.model"], told["gen_ai.response.model"]) == ("scripted-1", "scripted-1")
    assert told["parameters"] == {"temperature": 0.2}
    assert len(told["prompt_digest"]) == 64
    assert "cost_micros" not in told, "no price is known"


def test_usage_of_several_calls_adds_up(model, drive):
    graph = Graph()
    graph.map("m", [1, 2, 3], asking("ping ${item}").build())
    job = drive(submit(graph))
    usage = job.ledger.usage()
    assert (usage["calls"], usage["output_tokens"]) == (3, 3)


@pytest.mark.parametrize(
    ("usage", "kept"),
    [
        ({"input_tokens": -1, "output_tokens": 2**60}, {}),
        ({"input_tokens": "7", "output_tokens": True}, {}),
        ({"input_tokens": 7, "output_tokens": None}, {"input_tokens": 7}),
        ([], {}),
    ],
)
def test_what_a_service_says_of_usage_is_not_believed_blindly(usage, kept, drive, settings):
    settings.AETHERIS = settings.AETHERIS | {"MODEL_CLIENT": "tests.engine.test_models.whole"}
    world.doings["model"] = lambda request: {"content": "yes", "usage": usage}
    job = drive(submit(asking()))
    assert (job.status, entry_of(job).usage) == ("completed", kept)


def whole(request, *, timeout):
    """A client of the model that knows of no streams."""
    return world.doings["model"](request)


def streaming(request, *, timeout, tell):
    return world.doings["model"](request, tell)


# Errors of the provider


def test_a_busy_service_is_asked_again_when_it_says(model, worker):
    fails(model, kind="busy", seconds=7)
    job = submit(asking())
    step = run_once(job, worker)
    assert (step.status, last_error(job)["type"]) == ("ready", "ModelBusy")
    assert step.run_after and step.ready_at
    assert 6 < (step.run_after - step.ready_at).total_seconds() < 8


def test_a_request_that_is_refused_fails_the_step_at_once(model, worker):
    fails(model, kind="refuse", status=400)
    job = submit(asking())
    step = run_once(job, worker)
    assert (step.status, last_error(job)["type"], step.failures) == ("failed", "RequestRefused", 1)


def test_a_stream_that_breaks_off_is_asked_for_anew(model, drive, worker, clock):
    says(model, "long", " ".join(["word"] * 50))
    fails(model, kind="truncate")
    job = submit(asking("a long one", stream=True))
    step = run_once(job, worker)
    assert (step.status, last_error(job)["type"]) == ("ready", "AnswerTruncated")
    clock.forward(minutes=5)
    assert drive(job).result == " ".join(["word"] * 50)


# Text while it is written


def test_a_streamed_answer_is_the_whole_answer_and_was_told_on_the_way(model, drive):
    says(model, "poem", "Roses are red, violets are blue.")
    job = drive(submit(asking("a poem", stream=True)))
    assert job.result == "Roses are red, violets are blue."
    assert "".join(text for *_, text in text_of(job)) == job.result
    assert job.ledger.usage()["output_tokens"] == 8, "from the last chunk"
    assert told(job, step="it") == ["step_claimed", "model_called", "model_returned", "step_completed"]


def test_a_function_may_stream_too(model, drive):
    request = {"model": "scripted-1", "messages": [{"role": "user", "content": "ping"}], "stream": True}
    job = drive(submit(doing(lambda context: context.model(request)["content"])))
    assert (job.result, [piece[1] for piece in text_of(job)]) == ("OK", ["llm"])


def test_the_text_of_each_attempt_is_marked_with_it(model, drive, worker, clock):
    says(model, "poem", "one two three four")
    fails(model, kind="truncate")
    job = submit(asking("a poem", stream=True))
    run_once(job, worker)
    clock.forward(minutes=5)
    assert drive(job).status == "completed"
    by_attempt = {attempt: "".join(t for a, *_, t in text_of(job) if a == attempt) for attempt in (1, 2)}
    assert by_attempt[2] == "one two three four"
    assert by_attempt[2].startswith(by_attempt[1]) and by_attempt[1] != by_attempt[2]
    assert [offset for attempt, _, offset, _ in text_of(job) if attempt == 2][0] == 0


def test_without_redis_the_text_is_lost_and_the_step_is_not(model, drive, monkeypatch):
    says(model, "poem", "Roses are red.")
    before = live.Telling.lost_in_process
    nowhere = Redis(host="127.0.0.1", port=1, socket_connect_timeout=0.2)
    monkeypatch.setattr(live, "_writer", lambda: nowhere)
    job = drive(submit(asking("a poem", stream=True)))
    assert (job.status, job.result) == ("completed", "Roses are red.")
    assert live.Telling.lost_in_process - before == len("Roses are red.")
    assert text_of(job) == []


def test_a_live_stream_is_bounded_and_does_not_stay(model, drive, settings):
    settings.AETHERIS = settings.AETHERIS | {"LIVE_SECONDS": 30.0}
    job = drive(submit(asking("ping", stream=True)))
    left = live._reader().pttl(f"{live.PREFIX}{job.pk}")
    assert 0 < left <= 30_000


def test_a_client_that_cannot_stream_is_asked_for_the_whole(drive, settings):
    settings.AETHERIS = settings.AETHERIS | {"MODEL_CLIENT": "tests.engine.test_models.whole"}
    world.doings["model"] = lambda request: {"content": "yes"}
    job = drive(submit(asking(stream=True)))
    assert (job.result, text_of(job)) == ("yes", [])


def test_a_cancelled_step_stops_listening(model, worker, settings):
    settings.AETHERIS = settings.AETHERIS | {"MODEL_CLIENT": "tests.engine.test_models.streaming"}
    job = submit(asking(stream=True))
    said = []

    def endless(request, tell):
        """Says something for ever; the job is cancelled meanwhile, and the heart brings the news."""
        asker = threading.Thread(target=job.cancel)
        asker.start()
        asker.join()
        worker.beat()
        while True:
            said.append("more ")
            tell(said[-1])

    world.doings["model"] = endless
    run_once(job, worker)
    assert (job.status, said) == ("cancelled", ["more "])


def test_stream_is_a_matter_of_true_or_false():
    with pytest.raises(GraphInvalid, match="true or false"):
        submit(asking(stream="yes"))


def test_a_step_that_ends_leaves_its_text_to_be_read(model, drive):
    job = drive(submit(asking("ping", stream=True)))
    assert step_of(job).status == "completed"
    assert text_of(job) == [(1, "llm.0", 0, "OK")]
