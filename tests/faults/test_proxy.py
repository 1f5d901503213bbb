"""The proxy breaks connections as it says, and knows a commit when it sees one."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest
from django.db import connection

from runtime.stack.processes import wait_until
from tests.faults.postgres_wire import PostgresTalk
from tests.faults.proxy import Moment, Proxy, Way
from tests.services import Servers

Connect = Callable[[], psycopg.Connection]


class Echo(threading.Thread):
    """A server that answers each message with itself."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.heard = b""

    def run(self) -> None:
        while True:
            try:
                client, _ = self.listening.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=[client], daemon=True).start()

    def _answer(self, client: socket.socket) -> None:
        with client, suppress(ConnectionResetError):
            while data := client.recv(1000):
                self.heard += data
                client.sendall(data)


@pytest.fixture
def echo() -> Iterator[Echo]:
    echo = Echo()
    echo.start()
    yield echo
    echo.listening.close()


@pytest.fixture
def proxy(echo: Echo) -> Iterator[Proxy]:
    with Proxy(echo.listening.getsockname()) as proxy:
        yield proxy


@pytest.fixture
def client(proxy: Proxy) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=30) as client:
        assert asked(client, b"hello") == b"hello"
        yield client


def asked(client: socket.socket, what: bytes) -> bytes:
    client.sendall(what)
    return client.recv(1000)


def nothing_is_said_to(client: socket.socket) -> bool:
    patience = client.gettimeout()
    client.settimeout(0.2)
    with pytest.raises(TimeoutError):
        client.recv(1000)
    client.settimeout(patience)
    return True


def test_a_refusing_proxy_ends_who_is_there_and_lets_nobody_in_until_it_is_mended(proxy, client):
    proxy.refuse()
    with pytest.raises(ConnectionResetError):
        client.recv(1000)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", proxy.port))
    proxy.mend()
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=30) as again:
        assert asked(again, b"again") == b"again"


@pytest.mark.parametrize(("way", "heard"), [(Way.TO_SERVER, b"hello"), (Way.TO_CLIENT, b"hellolost")])
def test_a_black_hole_swallows_one_way_and_whoever_lost_bytes_is_reset_when_it_ends(
    proxy, client, echo, way, heard
):
    proxy.swallow(way)
    client.sendall(b"lost")
    assert nothing_is_said_to(client)
    assert wait_until(lambda: echo.heard == heard, timeout=30)
    proxy.mend()
    with pytest.raises(ConnectionResetError):
        client.recv(1000)


def test_what_was_frozen_goes_on_where_it_stood(proxy, client):
    proxy.freeze()
    client.sendall(b"late")
    assert nothing_is_said_to(client)
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=30) as newcomer:
        newcomer.sendall(b"me too")
        assert nothing_is_said_to(newcomer)
        proxy.mend()
        assert newcomer.recv(1000) == b"me too"
    assert client.recv(1000) == b"late"


def test_all_are_reset_and_those_who_come_after_are_not(proxy, client):
    assert proxy.reset_all() == 1
    with pytest.raises(ConnectionResetError):
        client.recv(1000)
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=30) as again:
        assert asked(again, b"again") == b"again"


def test_a_slow_proxy_takes_its_time_each_way(proxy, client):
    proxy.slow(0.05)
    began = time.monotonic()
    assert asked(client, b"slow") == b"slow"
    assert time.monotonic() - began >= 0.1


# Before PostgreSQL


@pytest.fixture
def before_postgres(servers: Servers, transactional_db: None) -> Iterator[Proxy]:
    host, port = connection.settings_dict["HOST"], connection.settings_dict["PORT"] or "5432"
    server = Path(host) / f".s.PGSQL.{port}" if host.startswith("/") else (host, int(port))
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE IF NOT EXISTS told (what text)")
        cursor.execute(
            "CREATE OR REPLACE FUNCTION as_aetheris_turn(text) RETURNS text LANGUAGE sql AS "
            "'INSERT INTO told VALUES ($1) RETURNING what'"
        )
    with Proxy(server, talk=PostgresTalk) as proxy:
        yield proxy
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE told CASCADE; DROP FUNCTION as_aetheris_turn")


@pytest.fixture
def connect(before_postgres: Proxy) -> Iterator[Connect]:
    """Another client, through the proxy; psycopg as the runtime uses it."""
    opened: list[psycopg.Connection] = []

    def connect() -> psycopg.Connection:
        known = connection.settings_dict
        opened.append(
            psycopg.connect(
                host="127.0.0.1",
                port=before_postgres.port,
                dbname=known["NAME"],
                user=known["USER"],
                password=known["PASSWORD"],
                prepare_threshold=0,
                autocommit=True,
            )
        )
        return opened[-1]

    yield connect
    for each in opened:
        each.close()


def told() -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT what FROM told ORDER BY what")
        return [what for (what,) in cursor.fetchall()]


TURN = "SELECT as_aetheris_turn($1)"


def turn(client: psycopg.Connection, what: str) -> None:
    psycopg.RawCursor(client).execute(TURN, [what], prepare=True).fetchone()


@pytest.mark.parametrize(("moment", "left"), [(Moment.BEFORE, ["first"]), (Moment.AFTER, ["cut", "first"])])
@pytest.mark.parametrize("prepared_before", [True, False])
def test_a_turn_is_cut_before_or_after_its_commit_and_never_in_between(
    before_postgres, connect, moment, left, prepared_before
):
    client = connect()
    turn(client, "first")
    client = client if prepared_before else connect()
    cut = before_postgres.cut(moment)
    client.execute("SELECT 1")  # commits nothing
    assert not cut.done.is_set()
    with pytest.raises(psycopg.OperationalError):
        turn(client, "cut")
    assert cut.done.wait(30)
    assert told() == left
    turn(connect(), "second")
    assert told() == sorted([*left, "second"])


@pytest.mark.parametrize(("moment", "left"), [(Moment.BEFORE, []), (Moment.AFTER, ["block", "turn"])])
def test_in_a_block_it_is_the_commit_that_is_cut(before_postgres, connect, moment, left):
    client = connect()
    cut = before_postgres.cut(moment)
    with pytest.raises(psycopg.OperationalError), client.transaction():
        client.execute("INSERT INTO told VALUES ('block')")
        turn(client, "turn")
        assert not cut.done.is_set(), "a turn inside a block commits nothing"
    assert cut.done.wait(30)
    assert wait_until(lambda: told() == left, timeout=30)


def test_what_a_client_puts_into_the_text_is_known_too(before_postgres, connect):
    client = connect()
    cut = before_postgres.cut(Moment.AFTER)
    with pytest.raises(psycopg.OperationalError):
        psycopg.ClientCursor(client).execute("SELECT as_aetheris_turn(%s)", ["in the text"])
    assert cut.done.is_set()
    assert told() == ["in the text"]


def test_a_large_answer_and_a_large_question_pass(connect):
    client = connect()
    text = "x" * 3_000_000
    assert client.execute("SELECT %s::text", [text]).fetchone() == (text,)
    assert len(client.execute("SELECT generate_series(1, 20000)").fetchall()) == 20000
