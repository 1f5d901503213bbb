"""The other end of a connection, byte by byte: what it reads is kept, what it does is a script."""

import socket
import ssl
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Event, Thread

from tools.http import HttpClient, Reach

Script = Callable[[socket.socket, "Server"], None]


@dataclass
class Call:
    """What a tool is given by the runtime."""

    idempotency_key: str = "key-1"
    attempt: int = 1
    job_id: str = "job"
    step: str = "step"
    remaining_seconds: float = 60.0
    cancelled: bool = False
    callback_token: str = "token-1"
    callback_url: str = "http://localhost:8000/api/v1/callbacks/token-1"


class Server:
    """Follows the scripts in order, one a connection; the last one again and again."""

    def __init__(self, scripts: Sequence[Script], tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[bytes] = []
        self.names: list[str | None] = []
        self.stopping = Event()
        self._scripts = scripts
        self._tls = tls
        if tls is not None:
            tls.sni_callback = lambda _socket, name, _context: self.names.append(name)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.connections = 0
        self._thread = Thread(target=self._serve, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def close(self) -> None:
        self.stopping.set()
        # An accept that waits is not woken by a close; a connection wakes it.
        socket.create_connection(("127.0.0.1", self.port)).close()
        self._thread.join(30)
        self._listener.close()

    def _serve(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            if self.stopping.is_set():
                connection.close()
                return
            script = self._scripts[min(self.connections, len(self._scripts) - 1)]
            self.connections += 1
            self._follow(script, connection)

    def _follow(self, script: Script, connection: socket.socket) -> None:
        try:
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_side=True)
            connection.settimeout(60)
            script(connection, self)
        except OSError:
            return  # The client went away, which is often what the test is about.
        finally:
            connection.close()


def read_request(connection: socket.socket, server: Server) -> bytes:
    """The whole request; kept in `server.requests`."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += _received(connection)
    head, _, body = data.partition(b"\r\n\r\n")
    lengths = [
        int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")
    ]
    while len(body) < sum(lengths):
        body += _received(connection)
    server.requests.append(head + b"\r\n\r\n" + body)
    return body


def _received(connection: socket.socket) -> bytes:
    if not (data := connection.recv(65536)):
        raise ConnectionAbortedError("the client closed the connection")
    return data


def answering(status: int, body: str = "", **headers: str) -> Script:
    """Read the request, answer it whole."""

    def script(connection: socket.socket, server: Server) -> None:
        read_request(connection, server)
        connection.sendall(written(status, body, **headers))

    return script


def written(status: int, body: str = "", **headers: str) -> bytes:
    named = {"Content-Length": str(len(body.encode()))}
    named |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"HTTP/1.1 {status} Word", *(f"{name}: {value}" for name, value in named.items())]
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


def sending(data: bytes) -> Script:
    """Read the request, send these bytes, close."""

    def script(connection: socket.socket, server: Server) -> None:
        read_request(connection, server)
        connection.sendall(data)

    return script


def silent(connection: socket.socket, server: Server) -> None:
    """Read the request, and say nothing until the test is over."""
    read_request(connection, server)
    server.stopping.wait(60)


def resetting(connection: socket.socket, server: Server) -> None:
    """Read the request, then break the connection."""
    read_request(connection, server)
    reset(connection)


def reset(connection: socket.socket) -> None:
    # Linger zero makes close() send a reset instead of a polite end.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def dripping(data: bytes, every: float) -> Script:
    """Read the request, answer one byte at a time, never quite late enough for a timeout between two."""

    def script(connection: socket.socket, server: Server) -> None:
        read_request(connection, server)
        for byte in data:
            connection.sendall(bytes([byte]))
            if server.stopping.wait(every):
                return

    return script


def closing_at_once(connection: socket.socket, server: Server) -> None:
    """Accept, and go."""


def client(server: Server | str, **options: object) -> HttpClient:
    """A client that may reach the loopback."""
    url = server if isinstance(server, str) else server.url
    return HttpClient(url, **{"internal": ["127.0.0.1"], "timeout": 30.0, **options})  # type: ignore[arg-type]


def resolving(**answers: list[str]) -> Callable[..., list[tuple[object, ...]]]:
    """A resolver that knows these names (dots written as __), and counts what it was asked."""
    names = {name.replace("__", "."): addresses for name, addresses in answers.items()}

    def resolve(host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        if host not in names:
            return list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        resolve.asked.append(host)  # type: ignore[attr-defined]
        return [(None, None, None, "", (address, port)) for address in names[host]]

    resolve.asked = []  # type: ignore[attr-defined]
    return resolve


def reaching(hosts: list[str] | None = None, internal: Sequence[str] = (), **answers: list[str]) -> Reach:
    return Reach(hosts, internal, resolve=resolving(**answers))
