"""The ready tool: one request, to listed hosts."""

from collections.abc import Callable, Iterator

import pytest

from tests.tools.outside import Call, Server, answering
from tools import Refused, Tool, ToolArgumentsInvalid, registry
from tools.http import Forbidden, http_tool

Serve = Callable[..., Server]


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    before = registry.registered()
    yield
    registry._tools.clear()
    registry._tools.update(before)


@pytest.fixture
def server(serve: Serve) -> Server:
    return serve(answering(200, '{"ok": true}', Content_Type="application/json", ETag="v1", Set_Cookie="a=b"))


def made(server: Server, **options: object) -> Tool:
    hosts = [f"127.0.0.1:{server.port}"]
    return http_tool(**{"hosts": hosts, "internal": ["127.0.0.1"], **options})  # type: ignore[arg-type]


def test_it_answers_status_headers_and_body(server: Server) -> None:
    assert made(server).call(Call(), {"url": server.url}) == {
        "status": 200,
        "headers": {"content-type": "application/json", "etag": "v1"},
        "body": {"ok": True},
    }


def test_it_reads_unless_told_that_it_may_act(server: Server) -> None:
    assert made(server).policy.read_only
    with pytest.raises(Refused, match="GET requests only"):
        made(server).call(Call(), {"url": server.url, "method": "DELETE"})

    acting = made(server, name="act", methods=["POST"], idempotent=True)
    assert (acting.policy.read_only, acting.policy.idempotent) == (False, True)
    acting.call(Call(), {"url": server.url, "method": "POST", "body": {"a": 1}})
    assert b"idempotency-key: key-1" in server.requests[0].lower() and server.requests[0].endswith(b'{"a":1}')


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1/", "http://localhost/", "http://example.com/", "file:///etc/passwd", "x"]
)
def test_it_talks_to_no_other_host(server: Server, url: str) -> None:
    with pytest.raises(Refused):
        made(server).call(Call(), {"url": url})
    assert server.connections == 0


@pytest.mark.parametrize("header", ["Host", "X-Api-Key", "idempotency-key", "Transfer-Encoding", "Cookie"])
def test_a_caller_cannot_take_over_headers_that_the_tool_sets(server: Server, header: str) -> None:
    tool = made(server, headers={"x-api-key": "secret"})

    with pytest.raises(Forbidden, match=header.lower()):
        tool.call(Call(), {"url": server.url, "headers": {header: "mine"}})
    tool.call(Call(), {"url": server.url, "headers": {"X-Trace": "1"}})
    assert b"x-trace: 1" in server.requests[0].lower() and b"x-api-key: secret" in server.requests[0].lower()


def test_its_arguments_are_typed(server: Server) -> None:
    with pytest.raises(ToolArgumentsInvalid):
        made(server).call(Call(), {"url": server.url, "headers": {"a": 1}})


def test_it_needs_a_list_of_hosts() -> None:
    with pytest.raises(ValueError, match="list the hosts"):
        http_tool(hosts=[])
