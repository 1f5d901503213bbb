"""The client against real sockets: of every failure it knows whether anything can have happened."""

import gzip
import json
import socket
import time
from collections.abc import Callable
from threading import Event, Thread
from urllib.parse import unquote

import httpx
import pytest

from tests.tools import outside
from tests.tools.outside import Call, Server, answering, client, dripping, reaching, sending, written
from tools import NotSent, Refused
from tools.http import AnswerUnreadable, Forbidden, HttpClient, OutcomeUnknown, path

Serve = Callable[..., Server]


def test_a_call_carries_its_key_and_answers_the_result(serve: Serve) -> None:
    server = serve(answering(201, '{"id": "refund_1"}', Content_Type="application/json"))

    result = client(server, headers={"Authorization": "Bearer t"}).post(
        Call(), "/refunds", json={"amount": 5}, params={"a": "b c"}
    )

    assert result == {"id": "refund_1"}
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "POST /refunds?a=b+c HTTP/1.1" or lines[0] == "POST /refunds?a=b%20c HTTP/1.1"
    assert {"idempotency-key: key-1", "authorization: bearer t", "accept-encoding: gzip"} <= {
        line.lower() for line in lines
    }
    assert json.loads(body) == {"amount": 5}


def test_a_read_has_no_key(serve: Serve) -> None:
    server = serve(answering(200, "text"))

    assert client(server).get(Call(), "/orders/1") == "text"
    assert b"idempotency-key" not in server.requests[0].lower()


# Before the first byte


def test_a_refused_connection_is_not_sent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]

    with pytest.raises(NotSent, match="cannot be reached: ConnectError"):
        client(f"http://127.0.0.1:{port}").post(Call(), "/refunds")


def test_a_name_that_nobody_knows_is_not_sent() -> None:
    def nobody_knows(*_: object, **__: object) -> list[tuple[object, ...]]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    reach = reaching()
    object.__setattr__(reach, "resolve", nobody_knows)

    with pytest.raises(NotSent, match=r"api\.example cannot be resolved"):
        HttpClient("http://api.example", reach=reach).post(Call(), "/refunds")


def test_a_resolver_that_hangs_is_left_behind() -> None:
    released = Event()
    reach = reaching()
    object.__setattr__(reach, "resolve", lambda *_, **__: released.wait(60) and [])

    with pytest.raises(NotSent, match="was not resolved"):
        HttpClient("http://api.example", reach=reach, timeout=0.2).post(Call(), "/refunds")
    released.set()


def test_a_black_hole_is_not_sent() -> None:
    """A full backlog: the kernel answers no further SYN, like a firewall that drops."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        filling = [socket.socket() for _ in range(4)]
        for each in filling:
            each.setblocking(False)
            each.connect_ex(listener.getsockname())
        began = time.monotonic()

        with pytest.raises(NotSent, match="ConnectTimeout"):
            client(f"http://127.0.0.1:{listener.getsockname()[1]}", timeout=0.3).post(Call(), "/refunds")

        assert time.monotonic() - began < 30, "the kernel would try for two minutes"
        for each in filling:
            each.close()


@pytest.mark.parametrize("hello", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x15\x03\x01\x00\x02\x02\x28"])
def test_a_tls_handshake_that_fails_is_not_sent(serve: Serve, hello: bytes) -> None:
    def no_tls(connection: socket.socket, server: Server) -> None:
        connection.recv(1)
        connection.sendall(hello)

    server = serve(no_tls)

    with pytest.raises(NotSent, match="ConnectError"):
        client(f"https://127.0.0.1:{server.port}").post(Call(), "/refunds")


def test_a_tls_handshake_that_never_ends_is_not_sent(serve: Serve) -> None:
    server = serve(lambda connection, server: server.stopping.wait(60))

    with pytest.raises(NotSent, match="ConnectTimeout"):
        client(f"https://127.0.0.1:{server.port}", timeout=0.3).post(Call(), "/refunds")


@pytest.mark.parametrize(
    "options",
    [
        {"headers": {"X-A": "one\r\nX-B: two"}},
        {"headers": {"X-A\n": "one"}},
    ],
)
def test_a_request_that_cannot_be_written_is_not_sent(serve: Serve, options: dict[str, object]) -> None:
    server = serve(answering(200))

    with pytest.raises(Refused, match="cannot be written"):
        client(server).post(Call(), "/refunds", **options)
    assert server.requests == []


def test_a_body_that_is_not_json_is_refused_before_a_connection(serve: Serve) -> None:
    server = serve(answering(200))

    with pytest.raises(Refused, match="cannot be asked for"):
        client(server).post(Call(), "/refunds", json={"at": object()})
    assert server.connections == 0


@pytest.mark.parametrize(
    "call", [Call(remaining_seconds=0.1), Call(remaining_seconds=-1), Call(cancelled=True)]
)
def test_no_byte_leaves_without_time_or_after_a_cancel(serve: Serve, call: Call) -> None:
    server = serve(answering(200))

    with pytest.raises(NotSent):
        client(server).post(call, "/refunds")
    assert server.requests == []


def test_a_dead_address_is_passed_over_for_one_that_answers(serve: Serve) -> None:
    server = serve(answering(200, "here"))
    reach = reaching(internal=["shop.example"], shop__example=["127.0.0.9", "127.0.0.1"])

    assert HttpClient(f"http://shop.example:{server.port}", reach=reach).post(Call(), "/refunds") == "here"


# After it


@pytest.mark.parametrize(
    "script",
    [
        outside.resetting,
        sending(b""),
        sending(b"HTTP/1.1 200 OK\r\nContent-"),
        sending(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"),
        sending(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhal"),
        sending(b"SSH-2.0-OpenSSH_9.0\r\n"),
        sending(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
        answering(500),
        answering(502),
        answering(303, Location="/done"),
        answering(302, Location="/done"),
    ],
)
def test_after_the_first_byte_a_failure_leaves_doubt(serve: Serve, script: outside.Script) -> None:
    server = serve(script)

    with pytest.raises(OutcomeUnknown):
        client(server).post(Call(), "/refunds", json={})
    assert (server.connections, len(server.requests)) == (1, 1)


def test_a_server_that_takes_the_connection_and_goes_leaves_doubt(serve: Serve) -> None:
    """The request was written into the connection; what became of it cannot be told."""
    with pytest.raises(OutcomeUnknown):
        client(serve(outside.closing_at_once)).post(Call(), "/refunds", json={})


def test_a_refusal_stands_when_the_connection_breaks_after_it(serve: Serve) -> None:
    server = serve(sending(b"HTTP/1.1 422 No\r\nContent-Length: 100\r\n\r\ntoo much"))

    with pytest.raises(Refused, match="too much"):
        client(server).post(Call(), "/refunds", json={})


def test_a_refusal_of_a_long_body_is_read_while_it_is_being_sent(serve: Serve) -> None:
    def refuse_early(connection: socket.socket, server: Server) -> None:
        connection.recv(1000)
        connection.sendall(written(413, "too large"))
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(1 << 20):
            pass

    with pytest.raises(Refused, match="too large"):
        client(serve(refuse_early)).post(Call(), "/upload", content=b"x" * 5_000_000)


@pytest.mark.parametrize(
    "script",
    [
        outside.silent,
        dripping(b"HTTP/1.1 200 OK\r\nContent-Length: 600\r\n\r\n" + b"slow" * 150, every=0.1),
        dripping(b"HTTP/1.1 100 Continue\r\n\r\n" * 50, every=0.05),
    ],
)
def test_the_whole_call_ends_in_time_however_slow_the_answer(serve: Serve, script: outside.Script) -> None:
    began = time.monotonic()

    with pytest.raises(OutcomeUnknown, match="ReadTimeout"):
        client(serve(script)).post(Call(remaining_seconds=1.25), "/refunds", json={})

    assert time.monotonic() - began < 20, "all of it would take a minute"


def test_a_body_that_drips_past_the_end_leaves_doubt(serve: Serve) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n"

    def late_body(connection: socket.socket, server: Server) -> None:
        sending(head)(connection, server)
        server.stopping.wait(60)

    with pytest.raises(AnswerUnreadable):
        client(serve(late_body), timeout=1).post(Call(), "/refunds", json={})


def test_an_answer_without_end_is_not_read_to_its_end(serve: Serve) -> None:
    def endless(connection: socket.socket, server: Server) -> None:
        sending(b"HTTP/1.1 200 OK\r\n\r\n")(connection, server)
        while not server.stopping.is_set():
            connection.sendall(b"x" * 65536)

    with pytest.raises(AnswerUnreadable, match="longer than 1,000 bytes"):
        client(serve(endless), max_bytes=1000).post(Call(), "/refunds", json={})


def zipped(body: bytes, encoding: str = "gzip") -> outside.Script:
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: {encoding}\r\nContent-Length: {len(body)}\r\n\r\n"
    return sending(head.encode() + body)


def test_an_answer_may_be_compressed(serve: Serve) -> None:
    assert client(serve(zipped(gzip.compress(b"short")))).get(Call(), "/") == "short"


@pytest.mark.parametrize(
    "script",
    [
        zipped(gzip.compress(b"x" * 50_000_000)),
        zipped(gzip.compress(b"cut")[:-9]),
        zipped(b"not gzip at all"),
        zipped(gzip.compress(gzip.compress(b"x")), "gzip, gzip"),
        zipped(b"x", "br"),
    ],
    ids=["bomb", "truncated", "lie", "twice", "brotli"],
)
def test_a_compressed_answer_that_cannot_be_read_leaves_doubt(serve: Serve, script: outside.Script) -> None:
    with pytest.raises(AnswerUnreadable):
        client(serve(script)).post(Call(), "/refunds", json={})


def test_nothing_is_remembered_between_calls(serve: Serve) -> None:
    """No cookie, and no connection that the server may have closed meanwhile."""
    server = serve(answering(200, "x", Set_Cookie="who=1"))
    shop = client(server)

    assert [shop.post(Call(), "/refunds"), shop.post(Call(), "/refunds")] == ["x", "x"]
    assert server.connections == 2
    assert b"who=1" not in server.requests[1]


def test_a_proxy_of_the_environment_is_not_used(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    assert client(serve(answering(200, "straight"))).get(Call(), "/") == "straight"


def test_calls_of_many_threads_do_not_mix(serve: Serve) -> None:
    def echo(connection: socket.socket, server: Server) -> None:
        connection.sendall(written(200, outside.read_request(connection, server).decode()))

    shop, answers = client(serve(echo)), {}

    def call(number: int) -> None:
        answers[number] = shop.post(Call(), "/", content=str(number))

    threads = [Thread(target=call, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert answers == {number: str(number) for number in range(20)}


# Paths


@pytest.mark.parametrize(
    "path",
    [
        "//evil.example/x",
        "http://evil.example/",
        "@evil.example/",
        ".evil.example/",
        ":99/",
        "/../admin",
        "/x/../../admin",
        "/%2e%2e/admin",
    ],
)
def test_a_path_does_not_lead_out_of_its_service(serve: Serve, path: str) -> None:
    server = serve(answering(200, "in"))

    try:
        client(f"{server.url}/v1").post(Call(), path)
    except Forbidden:
        assert server.connections == 0
    else:
        assert server.requests[0].startswith(b"POST /v1/")
        assert f"127.0.0.1:{server.port}".encode() in server.requests[0]


@pytest.mark.parametrize("value", ["../admin", "a/b", "a?b=c", "a#b", "%2e%2e", "ü", "\r\nX: y"])
def test_a_value_stays_one_segment_of_a_path(serve: Serve, value: str) -> None:
    server = serve(answering(200))

    client(server).get(Call(), path("orders", value))

    target = server.requests[0].split(b" ")[1].decode()
    assert (target.count("/"), unquote(target.removeprefix("/orders/"))) == (2, value)


@pytest.mark.parametrize("value", ["", ".", ".."])
def test_a_segment_that_climbs_is_refused(value: str) -> None:
    with pytest.raises(Refused):
        path("orders", value)


# Redirects


def test_a_read_follows_redirects_and_leaves_credentials_behind(serve: Serve) -> None:
    there = serve(answering(200, "there"))
    here = serve(answering(302, Location="/moved"), answering(307, Location=f"{there.url}/elsewhere"))

    answer = client(here, headers={"X-Api-Key": "secret", "Authorization": "secret"}).get(Call(), "/")

    assert answer == "there"
    assert here.requests[1].startswith(b"GET /moved ") and b"secret" in here.requests[1]
    assert there.requests[0].startswith(b"GET /elsewhere ") and b"secret" not in there.requests[0]


def test_a_redirect_is_not_a_way_inside(serve: Serve) -> None:
    inside = serve(answering(200, "inside"))
    here = serve(answering(302, Location=f"http://inside.example:{inside.port}/"))
    reach = reaching(internal=["here.example"], here__example=["127.0.0.1"], inside__example=["127.0.0.1"])

    with pytest.raises(Forbidden, match="loopback"):
        HttpClient(f"http://here.example:{here.port}", reach=reach).get(Call(), "/")
    assert inside.connections == 0


@pytest.mark.parametrize(
    "location", ["file:///etc/passwd", "gopher://x/", "http://2130706433/", "http://[::1", ""]
)
def test_a_redirect_to_nowhere_good_is_refused(serve: Serve, location: str) -> None:
    with pytest.raises(Refused):
        client(serve(answering(302, Location=location))).get(Call(), "/")


def test_redirects_end(serve: Serve) -> None:
    server = serve(answering(302, Location="/again"))

    with pytest.raises(Refused, match="more than 5 times"):
        client(server).get(Call(), "/")
    assert server.connections == 6


def test_an_act_does_not_follow_a_redirect(serve: Serve) -> None:
    server = serve(answering(307, Location="/moved"))

    with pytest.raises(Refused, match="/moved"):
        client(server).post(Call(), "/refunds", json={})
    assert server.connections == 1


# Names and addresses


def test_a_name_is_resolved_once_and_that_address_is_used(serve: Serve) -> None:
    """A name that answers a public address to the check and a private one to the connection gets nowhere."""
    server = serve(answering(200, "inside"))
    reach = reaching(internal=["127.0.0.0/8"], shop__example=["127.0.0.1"])
    shop = HttpClient(f"http://shop.example:{server.port}", reach=reach)

    assert shop.get(Call(), "/") == "inside"
    assert reach.resolve.asked == ["shop.example"]  # type: ignore[attr-defined]
    assert f"host: shop.example:{server.port}".encode() in server.requests[0].lower()


def test_an_internal_address_is_refused_and_the_way_out_is_named(serve: Serve) -> None:
    server = serve(answering(200))

    with pytest.raises(Forbidden, match="List it under `internal`"):
        HttpClient(server.url).post(Call(), "/refunds")
    assert server.connections == 0


def test_only_the_public_ones_of_several_addresses_are_used() -> None:
    reach = reaching(mixed__example=["10.0.0.1", "8.8.8.8", "::1", "2606:4700::1111"])

    assert [str(address) for address in reach.addresses("mixed.example", 443, 1)] == [
        "8.8.8.8",
        "2606:4700::1111",
    ]


@pytest.mark.parametrize(
    "host",
    [
        "2130706433",
        "0x7f.1",
        "0177.0.0.1",
        "127.1",
        "127.0.0.1.",
        "localhost",
        "[::1]",
        "[::ffff:7f00:1]",
        "①②⑦.0.0.1",
        "127。0。0。1",
        "%31%32%37.0.0.1",
        "a@127.0.0.1",
    ],
)
def test_no_spelling_of_the_loopback_gets_through(serve: Serve, host: str) -> None:
    server = serve(answering(200))

    with pytest.raises(Refused):
        HttpClient().get(Call(), f"http://{host}:{server.port}/")
    assert server.connections == 0


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("https://api.example/x", True),
        ("https://API.example./x", True),
        ("https://a.wild.example/x", True),
        ("https://a.b.wild.example/x", True),
        ("https://other.example:8443/", True),
        ("https://wild.example/x", False),
        ("https://evilwild.example/x", False),
        ("https://api.example:8443/", False),
        ("https://other.example/", False),
        ("https://api.example.evil/", False),
        ("https://api.example@evil.example/", False),
        ("https://evil.example/?api.example", False),
    ],
)
def test_hosts_are_exact_or_below_a_star(url: str, allowed: bool) -> None:
    reach = reaching(hosts=["api.example", "*.wild.example", "other.example:8443"])
    if allowed:
        reach.check(httpx.URL(url))
    else:
        with pytest.raises(Forbidden):
            reach.check(httpx.URL(url))


def test_a_text_for_a_list_of_hosts_is_a_mistake() -> None:
    with pytest.raises(TypeError, match="list of names"):
        HttpClient("https://api.example", hosts="api.example")
