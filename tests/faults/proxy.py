"""A TCP proxy that breaks connections: what stands before PostgreSQL and before Valkey in tests of their outages.

    with Proxy("/run/pg/.s.PGSQL.5432", talk=PostgresTalk) as proxy:
        connect(port=proxy.port)
        proxy.freeze()

It runs in a thread of its own and is told what to do from any other. What it does not show: packets that are never
acknowledged (see `tests/faults/cable.py`). A frozen or swallowing proxy's kernel still acknowledges, as that of a
stopped server does.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, Self

from tests.faults.postgres_wire import PostgresTalk
from tests.faults.talk import PlainTalk

CHUNK = 65536
AT_ONCE = struct.pack("ii", 1, 0)
"""SO_LINGER with no time: closing sends a reset instead of a polite end."""


class Way(Enum):
    TO_SERVER = "to server"
    TO_CLIENT = "to client"


class Moment(Enum):
    BEFORE = "before the commit reaches the server"
    AFTER = "after the server has committed, before the client hears of it"


@dataclass
class Cut:
    """One connection that is to be cut around one commit."""

    moment: Moment
    done: threading.Event = field(default_factory=threading.Event)


class Proxy:
    """Before one server, a Unix socket or (host, port). `port` is where clients connect."""

    def __init__(
        self,
        server: Path | tuple[str, int],
        talk: Callable[[], PostgresTalk | PlainTalk] = PlainTalk,
        host: str = "127.0.0.1",
    ) -> None:
        self.server = server
        self.host = host
        self.port = 0
        self._talk = talk
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._links: set[Link] = set()
        self._listening: asyncio.Server | None = None
        self._going = asyncio.Event()
        self._going.set()
        self._swallowed: frozenset[Way] = frozenset()
        self._delay = 0.0
        self._cuts: list[Cut] = []

    def __enter__(self) -> Self:
        self._thread.start()
        self._do(self._listen())
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    # What can be told

    def mend(self) -> None:
        """Everything passes again: connections that lost bytes are reset, others go on where they stood."""
        self._do(self._mend())

    def refuse(self) -> None:
        """Nobody is let in, and those who are get a reset."""
        self._do(self._refuse())

    def swallow(self, *ways: Way) -> None:
        """A black hole in one direction, or with none named in both."""
        self._swallowed = frozenset(ways or Way)

    def freeze(self) -> None:
        """Nothing passes and nothing ends: connections are half open until `mend`."""
        self._do(self._freeze())

    def slow(self, seconds: float) -> None:
        """Whatever passes waits so long."""
        self._delay = seconds

    def reset_all(self) -> int:
        """Reset every connection; how many there were."""
        return int(self._do(self._reset_all()))

    def cut(self, moment: Moment) -> Cut:
        """Reset the connection that commits next, at this moment of it."""
        cut = Cut(moment)
        self._cuts.append(cut)
        return cut

    @property
    def connections(self) -> int:
        return len(self._links)

    # In the thread of the loop

    def _do(self, what: Any) -> Any:
        future: Future[Any] = asyncio.run_coroutine_threadsafe(what, self._loop)
        return future.result(timeout=60)

    async def _listen(self) -> None:
        if self._listening is None:
            self._listening = await asyncio.start_server(self._serve, self.host, self.port, backlog=256)
            self.port = self._listening.sockets[0].getsockname()[1]

    async def _refuse(self) -> None:
        if self._listening is not None:
            self._listening.close()
            self._listening = None
        await self._reset_all()

    async def _freeze(self) -> None:
        self._going.clear()

    async def _mend(self) -> None:
        self._swallowed, self._delay = frozenset(), 0.0
        for link in [link for link in self._links if link.has_lost]:
            link.reset()
        self._going.set()
        await self._listen()

    async def _reset_all(self) -> int:
        links = list(self._links)
        for link in links:
            link.reset()
        return len(links)

    async def _end(self) -> None:
        await self._refuse()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = Link(self, writer, self._talk())
        self._links.add(link)
        try:
            await link.run(reader)
        except (OSError, EOFError, asyncio.CancelledError):
            pass  # it was broken, by us or by one of its ends
        finally:
            self._links.discard(link)
            link.close()

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        await self._going.wait()
        if isinstance(self.server, Path):
            return await asyncio.open_unix_connection(str(self.server))
        return await asyncio.open_connection(*self.server)

    async def _admit(self, link: Link, way: Way) -> bool:
        """Whether what stands here may pass, once it may."""
        if self._delay:
            await asyncio.sleep(self._delay)
        await self._going.wait()
        if way in self._swallowed:
            link.has_lost = True
        return not link.has_lost

    def _take_cut(self) -> Cut | None:
        return self._cuts.pop(0) if self._cuts else None


class Link:
    """One connection of a client, and the one to the server that was opened for it."""

    def __init__(self, proxy: Proxy, client: asyncio.StreamWriter, talk: PostgresTalk | PlainTalk) -> None:
        self.has_lost = False
        self._proxy = proxy
        self._client = client
        self._server: asyncio.StreamWriter | None = None
        self._talk = talk
        self._cut: Cut | None = None

    async def run(self, from_client: asyncio.StreamReader) -> None:
        from_server, self._server = await self._proxy._open()
        pumps = {
            asyncio.ensure_future(self._to_server(from_client, self._server)),
            asyncio.ensure_future(self._to_client(from_server)),
        }
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)

    def close(self) -> None:
        """Politely: what one end said last still reaches the other."""
        for writer in (self._client, self._server):
            if writer is not None:
                writer.close()

    def reset(self) -> None:
        for writer in (self._client, self._server):
            if writer is not None and not writer.transport.is_closing():
                connection: socket.socket = writer.get_extra_info("socket")
                if connection.family == socket.AF_INET:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
                writer.transport.abort()

    async def _to_server(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(CHUNK):
            if not await self._proxy._admit(self, Way.TO_SERVER):
                continue
            for message in self._talk.sent(data):
                if self._talk.commits(message) and self._cut is None:
                    self._cut = self._proxy._take_cut()
                    if self._cut and self._cut.moment is Moment.BEFORE:
                        return self._finish_cut(self._cut)
                writer.write(message)
            await writer.drain()

    async def _to_client(self, reader: asyncio.StreamReader) -> None:
        while data := await reader.read(CHUNK):
            if not await self._proxy._admit(self, Way.TO_CLIENT):
                continue
            for message in self._talk.answered(data):
                if self._cut is None:
                    self._client.write(message)
                elif self._talk.ends_an_answer(message):
                    return self._finish_cut(self._cut)
            await self._client.drain()

    def _finish_cut(self, cut: Cut) -> None:
        self.reset()
        cut.done.set()
