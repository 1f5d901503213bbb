"""`context.http`: a read is made once, and later attempts get what it answered."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from runtime.models import Effect
from tests.engine.driving import doing, last_error, run_once, submit
from tests.tools.outside import Script, Server, answering, closing_at_once, sending, written


@pytest.fixture
def serve(settings: Any) -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []
    settings.AETHERIS = settings.AETHERIS | {"HTTP_INTERNAL": ("127.0.0.1",)}

    def start(*scripts: Script) -> Server:
        servers.append(Server(scripts))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def page(body: Any = None, status: int = 200, **headers: str) -> Script:
    return answering(status, json.dumps(body), Content_Type="application/json", **headers)


def reading(server, **keys):
    return doing(lambda context: context.http("GET", f"{server.url}/rates", **keys))


def test_an_answer_is_status_headers_and_body(serve, drive):
    server = serve(page({"rate": 1.5}, ETag='"7"', Set_Cookie="a=b"))
    job = drive(submit(reading(server, params={"of": "EUR"})))
    assert job.result == {
        "status": 200, "headers": {"content-type": "application/json", "etag": '"7"'}, "body": {"rate": 1.5},
    }  # fmt: skip
    assert server.requests[0].startswith(b"GET /rates?of=EUR HTTP/1.1\r\n")


def test_a_later_attempt_gets_the_same_answer_and_asks_nobody(serve, worker, clock):
    server = serve(page({"rate": 1}), page({"rate": 2}))
    seen = []

    def read(context):
        seen.append(context.http("GET", server.url)["body"]["rate"])
        if len(seen) == 1:
            raise RuntimeError("after the read")
        return seen

    job = submit(doing(read))
    run_once(job, worker)
    clock.forward(minutes=5)
    run_once(job, worker)
    assert (job.result, server.connections) == ([1, 1], 1)


def test_reads_of_different_addresses_are_told_apart(serve, drive):
    server = serve(page("a"), page("b"), page("c"))
    paths = ["/1", "/2", "/1"]
    job = drive(submit(doing(lambda c: [c.http("GET", f"{server.url}{path}")["body"] for path in paths])))
    assert job.result == ["a", "b", "c"]


def test_credentials_and_addresses_are_not_recorded(serve, drive):
    server = serve(page({"ok": True}))
    drive(submit(reading(server, headers={"Authorization": "Bearer s3cret"}, params={"key": "s3cret"})))
    assert b"Bearer s3cret" in server.requests[0]
    effect = Effect.objects.get()
    assert "s3cret" not in json.dumps([effect.name, effect.value])


def test_that_something_is_not_there_is_an_answer(serve, drive):
    job = drive(submit(reading(serve(page({"no": 1}, status=404)))))
    assert job.result == {"status": 404, "headers": {"content-type": "application/json"}, "body": {"no": 1}}


@pytest.mark.parametrize(
    "script",
    [answering(503), answering(429), closing_at_once, sending(written(200, "x" * 100)[:-50])],
)
def test_what_may_pass_is_no_answer_and_is_tried_again(serve, worker, clock, script):
    server = serve(script, page("now"))
    job = submit(reading(server))
    assert run_once(job, worker).status == "ready"
    clock.forward(minutes=5)
    run_once(job, worker)
    assert job.result == {"status": 200, "headers": {"content-type": "application/json"}, "body": "now"}


def test_a_service_that_says_when_is_asked_then(serve, worker):
    job = submit(reading(serve(answering(429, Retry_After="90"))))
    step = run_once(job, worker)
    assert step.run_after and step.ready_at
    assert 89 < (step.run_after - step.ready_at).total_seconds() < 91


def test_what_may_act_is_a_tools_business(worker):
    job = submit(doing(lambda context: context.http("POST", "https://example.org/")))
    step = run_once(job, worker)
    assert (step.status, step.failures) == ("failed", 1)
    assert "use a tool" in last_error(job)["message"]


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:9/", "http://169.254.169.254/", "file:///etc/passwd", "http://[::1"]
)
def test_it_does_not_lead_inside(worker, url):
    job = submit(doing(lambda context: context.http("GET", url)))
    assert run_once(job, worker).status == "failed"


def test_a_body_that_is_too_large_fails_for_good(serve, worker, settings):
    settings.AETHERIS = settings.AETHERIS | {"HTTP_MAX_BYTES": 100, "HTTP_INTERNAL": ("127.0.0.1",)}
    job = submit(reading(serve(page("x" * 1000))))
    assert run_once(job, worker).status == "failed"


def test_a_coroutine_may_read_too(serve, drive):
    server = serve(page("hello"))

    async def read(context):
        return context.http("GET", server.url)["body"]

    assert drive(submit(doing(read))).result == "hello"
