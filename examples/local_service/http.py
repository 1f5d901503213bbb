"""Requests in, answers out: a threaded HTTP server that routes JSON to the methods of a `Service`.

A handler returns an `Answer`, raises a `Rejected` with the answer to give, or raises `Hangup` to close the
connection without one.
"""

import json
import re
import socket
import struct
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any, NoReturn, Self, TypeAlias
from urllib.parse import parse_qsl, unquote, urlsplit

MAX_BODY = 1_000_000


@dataclass(frozen=True)
class Request:
    """What a handler sees of an HTTP request; `body` is the parsed JSON, `None` when there was none."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Any = None

    def fields(self) -> dict[str, Any]:
        """The body as an object, or 422."""
        if not isinstance(self.body, dict):
            raise Rejected(422, "The body must be a JSON object.")
        return self.body


@dataclass(frozen=True)
class Answer:
    """A JSON answer, or a stream of server-sent events when `stream` is set."""

    body: Any = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    stream: Iterable[bytes] | None = None
    truncated: bool = False

    def with_headers(self, **headers: str) -> "Answer":
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return replace(self, headers={**self.headers, **named})


class Rejected(Exception):
    """The request gets this error answer."""

    def __init__(self, status: int, message: str, **headers: str) -> None:
        super().__init__(message)
        error = {"message": message, "status": status}
        self.answer = Answer({"error": error}, status).with_headers(**headers)


class Hangup(Exception):
    """The connection is reset without an answer."""


Handler: TypeAlias = Callable[..., Answer]


class Service:
    """What a server serves: `routes` maps "METHOD /path/{name}" to what takes a `Request` and the names."""

    def __init__(self) -> None:
        self.stopping = Event()

    def routes(self) -> dict[str, Handler]:
        raise NotImplementedError

    def answer(self, request: Request) -> Answer:
        """The answer of the first route that fits."""
        handler, names = self._find(request)
        return handler(request, **names)

    def _find(self, request: Request) -> tuple[Handler, dict[str, str]]:
        known_path = False
        for route, handler in self.routes().items():
            method, path = route.split(" ")
            pattern = re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", re.escape(path))
            if match := re.fullmatch(pattern, request.path):
                if method == request.method:
                    return handler, {name: unquote(value) for name, value in match.groupdict().items()}
                known_path = True
        if known_path:
            raise Rejected(405, f"{request.method} is not allowed on {request.path}.")
        raise Rejected(404, f"There is nothing at {request.path}.")


class Server:
    """A `Service` on a local port. Port 0 takes a free one; `url` says which."""

    def __init__(self, service: Service, port: int = 0, host: str = "127.0.0.1") -> None:
        self.service = service
        self._http = _ThreadingServer((host, port), service)
        self._thread = Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    @property
    def port(self) -> int:
        return int(self._http.server_address[1])

    @property
    def url(self) -> str:
        return f"http://{self._http.server_address[0]!s}:{self.port}"

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Refuse new requests and let go of those that wait."""
        self.service.stopping.set()
        self._http.shutdown()
        self._http.server_close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()


class _ThreadingServer(ThreadingHTTPServer):
    request_queue_size = 256
    block_on_close = False

    def __init__(self, address: tuple[str, int], service: Service) -> None:
        self.service = service
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        # HTTPServer asks DNS for its own name here, which takes seconds on a machine without one.
        socket.socket.bind(self.socket, self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = self.server_address[:2]  # type: ignore[assignment]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A caller that died in the middle of its request is its own affair."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: _ThreadingServer

    def do_GET(self) -> None:
        self._serve()

    do_POST = do_PUT = do_DELETE = do_GET

    def _serve(self) -> None:
        try:
            self._send(self.server.service.answer(self._read()))
        except Rejected as rejected:
            self._send(rejected.answer)
        except Hangup:
            self._reset()
        except ConnectionError:
            self.close_connection = True  # The caller went away; what was done stays done.

    def _read(self) -> Request:
        url = urlsplit(self.path)
        return Request(
            method=self.command,
            path=url.path,
            query=dict(parse_qsl(url.query)),
            headers={name.lower(): value for name, value in self.headers.items()},
            body=self._read_body(),
        )

    def _read_body(self) -> Any:
        size = self.headers.get("Content-Length", "0")
        if not size.isdecimal() or int(size) > MAX_BODY:
            self.close_connection = True
            raise Rejected(413, f"The body must name its length, at most {MAX_BODY:,} bytes.")
        text = self.rfile.read(int(size))
        if len(text) < int(size):
            raise ConnectionAbortedError("the caller closed the connection in the middle of its body")
        try:
            return json.loads(text, parse_constant=_refuse_constant) if text else None
        except (ValueError, RecursionError) as error:
            raise Rejected(400, f"The body is not JSON: {error}") from error

    def _send(self, answer: Answer) -> None:
        if answer.stream is not None:
            self._send_stream(answer, answer.stream)
            return
        body = json.dumps(answer.body).encode() + b"\n"
        self._send_head(answer, "application/json", ("Content-Length", str(len(body))))
        if answer.truncated:
            self.wfile.write(body[: len(body) // 2])
            self.close_connection = True
        else:
            self.wfile.write(body)

    def _send_stream(self, answer: Answer, events: Iterable[bytes]) -> None:
        self._send_head(answer, "text/event-stream", ("Transfer-Encoding", "chunked"))
        for event in _first_half(events) if answer.truncated else events:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(event), event))
            self.wfile.flush()
        if answer.truncated:
            self.close_connection = True
        else:
            self.wfile.write(b"0\r\n\r\n")

    def _send_head(self, answer: Answer, content_type: str, framing: tuple[str, str]) -> None:
        self.send_response(answer.status)
        for name, value in (("Content-Type", content_type), framing, *answer.headers.items()):
            self.send_header(name, value)
        self.end_headers()

    def _reset(self) -> None:
        # Linger zero makes close() send a reset instead of a polite end.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet: the effects file and the counters are the log."""


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _first_half(events: Iterable[bytes]) -> Iterator[bytes]:
    kept = list(events)
    yield from kept[: len(kept) // 2]
