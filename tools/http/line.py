"""One request over one connection, and the two facts that the ledger needs of it: did any of it leave, and
is there still time.

A connection is not kept for the next request. A server may close an idle one just as it is used again, and then
nobody can tell whether that request was seen; for an effect this would be doubt without need.
"""

import ssl
import time
from collections.abc import Callable, Iterable
from typing import Any

import httpcore
import httpx

from tools.errors import NotSent
from tools.http import bodies
from tools.http.addresses import Address
from tools.http.reach import Reach

SocketOptions = Iterable[Any] | None
WRITE_BYTES = 16_384


class Line(httpcore.NetworkBackend):
    """Carries one request. `sent` turns true with its first byte, and not before."""

    def __init__(
        self, reach: Reach, deadline: float, ssl_context: ssl.SSLContext, cancelled: Callable[[], bool]
    ) -> None:
        self.sent = False
        self._reach = reach
        self._deadline = deadline
        self._ssl_context = ssl_context
        self._cancelled = cancelled

    def carry(self, request: httpx.Request, max_bytes: int) -> tuple[httpx.Response, Exception | None]:
        """The answer, and what cut its body short if anything did."""
        self._reach.check(request.url)
        url = httpcore.URL(
            scheme=request.url.raw_scheme,
            host=request.url.raw_host,
            port=request.url.port,
            target=request.url.raw_path,
        )
        connection = httpcore.HTTPConnection(url.origin, self._ssl_context, network_backend=self)
        with (
            connection,
            connection.stream(
                request.method, url, headers=request.headers.raw, content=request.read()
            ) as answer,
        ):
            body, cut = bodies.read(answer, max_bytes)
        headers = [(name, value) for name, value in answer.headers if name.lower() != b"content-encoding"]
        return httpx.Response(answer.status, headers=headers, content=body, request=request), cut

    @property
    def remaining(self) -> float:
        return self._deadline - time.monotonic()

    def about_to_send(self) -> None:
        """The last moment at which the call can still be left undone."""
        if self.sent:
            return
        if self.remaining <= 0:
            raise NotSent("time ran out before the first byte was sent")
        if self._cancelled():
            raise NotSent("the job was cancelled before the first byte was sent")
        self.sent = True

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: SocketOptions = None,
    ) -> httpcore.NetworkStream:
        """Connect to an address that `Reach` has looked at; the name stays in `Host` and in the certificate."""
        addresses = self._reach.addresses(host, port, self.remaining)
        for untried, address in zip(range(len(addresses), 0, -1), addresses, strict=True):
            try:
                return self._connect(address, port, self.remaining / untried)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if untried == 1:
                    raise
        raise AssertionError("Reach answers at least one address")

    def _connect(self, address: Address, port: int, timeout: float) -> httpcore.NetworkStream:
        if timeout <= 0:
            raise httpcore.ConnectTimeout("time ran out before a connection was made")
        return Stream(httpcore.SyncBackend().connect_tcp(str(address), port, timeout), self)


class Stream(httpcore.NetworkStream):
    """A connection whose every wait ends at the line's deadline, however slowly the other end drips."""

    def __init__(self, stream: httpcore.NetworkStream, line: Line) -> None:
        self._stream = stream
        self._line = line

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._left(httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._line.about_to_send()
        for start in range(0, len(buffer), WRITE_BYTES):
            self._stream.write(buffer[start : start + WRITE_BYTES], self._left(httpcore.WriteTimeout))

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        left = self._left(httpcore.ConnectTimeout)
        return Stream(self._stream.start_tls(ssl_context, server_hostname, left), self._line)

    def close(self) -> None:
        self._stream.close()

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)

    def _left(self, too_late: type[Exception]) -> float:
        left = self._line.remaining
        if left <= 0:
            raise too_late("the time for this call is over")
        return left
