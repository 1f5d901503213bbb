"""PostgreSQL and Valkey for all systems, and what PostgreSQL wrote."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, LiteralString

import psutil
import psycopg

from runtime.stack import processes
from runtime.stack.lock import InstanceLock
from runtime.stack.places import DATABASE_USER, Places
from runtime.stack.postgres import Postgres
from runtime.stack.valkey import Valkey

SHOWN = (
    "server_version",
    "fsync",
    "synchronous_commit",
    "full_page_writes",
    "wal_level",
    "wal_sync_method",
    "shared_buffers",
    "max_wal_size",
    "checkpoint_timeout",
)
MARK = "SELECT pg_logical_emit_message(false, 'bench', '', true)"
"""A record of our own, flushed: all before it are on disk, and between two of them there is at least one."""
COMMITS = """
SELECT coalesce(sum(count), 0)::bigint FROM pg_get_wal_stats(%s, %s, true)
WHERE "resource_manager/record_type" = 'Transaction/COMMIT'
"""


@dataclass(frozen=True)
class Written:
    """What was written to the log of PostgreSQL between two moments."""

    commits: int
    bytes: int


@dataclass(frozen=True)
class Servers:
    """The same two servers for every system; each run of a system begins with an empty database."""

    places: Places
    postgres: Postgres
    valkey: Valkey

    def url(self, database: str) -> str:
        return f"postgresql://{DATABASE_USER}@/{database}?host={self.places.postgres_sockets}"

    @property
    def redis_url(self) -> str:
        return f"unix://{self.places.valkey_socket}?db=0"

    def clear(self, database: str) -> None:
        """An empty database, an empty Valkey, and no checkpoint owed from the run before."""
        self.postgres.drop(database)
        self.postgres.create(database)
        self.valkey.flush()
        with self._connect() as connection:
            connection.execute("CREATE EXTENSION IF NOT EXISTS pg_walinspect")
            connection.execute("CHECKPOINT")

    def settings(self) -> dict[str, str]:
        with self._connect() as connection:
            found = connection.execute(
                "SELECT name, current_setting(name) FROM pg_settings WHERE name = ANY(%s)", [list(SHOWN)]
            )
            return dict(found.fetchall())

    def position(self) -> str:
        """Where the log of PostgreSQL ends now, on disk."""
        with self._connect() as connection:
            connection.execute(MARK)
            return str(_one(connection, "SELECT pg_current_wal_flush_lsn()"))

    def written_since(self, position: str) -> Written:
        """Commits that wrote something, counted in the log itself: the statistics come up to ten seconds late."""
        now = self.position()
        with self._connect() as connection:
            return Written(
                commits=_one(connection, COMMITS, [position, now]),
                bytes=_one(connection, "SELECT pg_wal_lsn_diff(%s, %s)::bigint", [now, position]),
            )

    def _connect(self) -> "psycopg.Connection[Any]":
        return self.postgres.connect("postgres")


def _one(connection: "psycopg.Connection[Any]", query: LiteralString, given: list[str] | None = None) -> Any:
    row = connection.execute(query, given).fetchone()
    assert row is not None
    return row[0]


@contextmanager
def running(instance: str = "bench") -> Iterator[Servers]:
    """Both servers, durable as they are for a user, from here to the end of the block."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # servers and workers end with the harness
    places = Places(instance=instance)
    places.prepare()
    lock = InstanceLock(places)
    lock.take()
    end_leftovers(places)
    servers = Servers(places, Postgres(places), Valkey(places))
    try:
        for server in (servers.postgres, servers.valkey):
            server.begin_log()
            server.start()
        yield servers
    finally:
        servers.valkey.stop()
        servers.postgres.stop()
        lock.release()


def end_leftovers(places: Places) -> None:
    """Kill what a harness that was killed has left: its workers would take jobs of this run."""
    left = [each for each in psutil.process_iter() if _home(each).is_relative_to(places.local)]
    processes.finish(left, signal.SIGKILL, grace=5)


def _home(process: psutil.Process) -> Path:
    try:
        return Path(process.environ().get("BENCH_HOME", "/"))
    except psutil.Error:
        return Path("/")  # it has ended, or is somebody else's
