"""The embedded PostgreSQL: a data directory, a Unix socket, one server process.

Nothing listens on TCP, and the socket's directory is closed to other users; that is what makes `trust` acceptable.
"""

import re
import shutil
import signal
import subprocess
from functools import cached_property
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from runtime.stack import binaries, processes
from runtime.stack.account import unprivileged
from runtime.stack.child import Child
from runtime.stack.errors import ServerFailed
from runtime.stack.places import DATABASE, DATABASE_USER, Places, own

FLEETING = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


class Postgres(Child):
    """The server of one instance. `durable=False` is for tests whose data nobody will miss."""

    stop_signal = signal.SIGINT  # "fast"; SIGQUIT is "immediate", as a crash would be
    grace = 20.0
    patience = 60.0

    def __init__(self, places: Places, *, durable: bool = True) -> None:
        super().__init__("postgres", places.logs / "postgres.log")
        self.places = places
        self.durable = durable
        self.account = unprivileged()

    @cached_property
    def programs(self) -> Path:
        """The directory of `postgres` and `initdb`."""
        return binaries.postgres(self.places, self.account)

    @cached_property
    def data(self) -> Path:
        """The data directory: one for each major version, since none reads another's."""
        return self._home() / f"postgres-{self._major_version}"

    def _start(self) -> None:
        """Make the data directory where there is none, finish off what an earlier server left, and serve."""
        self._make_socket_directory()
        if not self.data.exists():
            self._initialise()
        self.clear_leftovers()
        self._spawn(
            [str(self.programs / "postgres"), "-D", str(self.data), *self._options()], **self._as_account()
        )
        self.wait_ready()
        self.create(DATABASE)

    def ready(self) -> bool:
        try:
            self.connect("postgres").close()
        except psycopg.OperationalError:
            return False
        return True

    def connect(self, database: str = DATABASE) -> psycopg.Connection:
        """A connection for administration, in autocommit."""
        return psycopg.connect(
            host=str(self.places.postgres_sockets),
            user=DATABASE_USER,
            dbname=database,
            autocommit=True,
            connect_timeout=5,
        )

    def create(self, database: str) -> None:
        """Make a database unless it exists."""
        with self.connect("postgres") as connection:
            known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [database]).fetchone()
            if known is None:
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database)))

    def drop(self, database: str) -> None:
        """Remove a database and whoever is connected to it."""
        with self.connect("postgres") as connection:
            connection.execute(
                sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(database))
            )

    def clear_leftovers(self) -> None:
        """End an earlier server and backends that survived theirs: a busy one keeps the shared memory in use.

        Whoever calls this holds the instance's lock, so that none of these processes has an owner any more.
        """
        postmaster = self._recorded_postmaster()
        left = processes.servers_in(self.data, "postgres")
        processes.finish([each for each in left if each.pid == postmaster], signal.SIGINT, grace=10)
        processes.finish(processes.servers_in(self.data, "postgres"), signal.SIGTERM, grace=2)
        # A pid file outlives a crash, and its number may belong to anybody by now: the server would refuse to start.
        (self.data / "postmaster.pid").unlink(missing_ok=True)
        for name in (".s.PGSQL.5432", ".s.PGSQL.5432.lock"):
            (self.places.postgres_sockets / name).unlink(missing_ok=True)

    def _recorded_postmaster(self) -> int | None:
        try:
            return int((self.data / "postmaster.pid").read_text().split("\n", 1)[0])
        except (FileNotFoundError, ValueError):
            return None

    def _home(self) -> Path:
        """Inside the checkout, unless the server's user cannot get there."""
        if self.account.reaches(self.places.local):
            return self.places.local
        own(self.places.refuge)
        return self.places.refuge

    @cached_property
    def _major_version(self) -> str:
        answer = self._run("postgres", "--version")
        found = re.search(r"\d+", answer)
        if found is None:
            raise ServerFailed(self.name, f"answers to --version with {answer!r}", self.log)
        return found.group()

    def _make_socket_directory(self) -> None:
        self.places.postgres_sockets.mkdir(mode=0o700, exist_ok=True)
        self.places.postgres_sockets.chmod(0o700)
        self.account.give(self.places.postgres_sockets)

    def _initialise(self) -> None:
        """Into a draft that is renamed when it is whole: half a data directory would never start."""
        draft = self.data.with_name(f"{self.data.name}.draft")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700)
        self.account.give(draft)
        try:
            self._run(
                "initdb", "-D", str(draft), "-U", DATABASE_USER, "--auth=trust", "-E", "UTF8", *self._locale()
            )
        except subprocess.CalledProcessError as error:
            self.log.write_bytes(error.stdout)
            raise ServerFailed("initdb", f"ended with code {error.returncode}", self.log) from error
        draft.rename(self.data)

    def _locale(self) -> list[str]:
        """One collation on every system: the built-in provider where there is one (17 and later)."""
        if int(self._major_version) >= 17:
            return ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
        return ["--locale=C.UTF-8"]

    def _options(self) -> list[str]:
        chosen = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.places.postgres_sockets),
            "port": "5432",
            "max_connections": "200",
            "log_line_prefix": "%m [%p] %a ",
            "timezone": "UTC",
            **({} if self.durable else FLEETING),
        }
        return [part for name, value in chosen.items() for part in ("-c", f"{name}={value}")]

    def _run(self, program: str, *arguments: str) -> str:
        done: subprocess.CompletedProcess[bytes] = subprocess.run(
            [str(self.programs / program), *arguments],
            check=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            **self._as_account(),
        )
        return done.stdout.decode(errors="replace")

    def _as_account(self) -> dict[str, Any]:
        return {"cwd": "/", **self.account.for_subprocess}
