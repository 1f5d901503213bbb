"""PostgreSQL and Valkey for the tests: embedded ones, unless DATABASE_URL and REDIS_URL name others.

Several test runs of one checkout may go on at the same time: each takes a slot with servers of its own. What
a killed run leaves behind, the next one in its slot ends.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count

from runtime.stack.errors import AlreadyRunning
from runtime.stack.lock import InstanceLock
from runtime.stack.places import Places
from runtime.stack.postgres import Postgres
from runtime.stack.valkey import Valkey

_slot: tuple[Places, InstanceLock] | None = None
_started_here: set[str] = set()


@dataclass
class Servers:
    """The servers of this run; None stands for one that somebody else runs."""

    postgres: Postgres | None
    valkey: Valkey | None


def slot() -> Places:
    """This run's own directories."""
    global _slot
    if _slot is None:
        _slot = _free_slot()
    return _slot[0]


def plain_environment() -> dict[str, str]:
    """The environment as it was before `choose`, for processes that are to find servers of their own."""
    return {name: value for name, value in os.environ.items() if name not in _started_here}


def choose() -> None:
    """Name this run's servers to whoever reads the environment. They start when the first test needs them."""
    for variable, url in (("DATABASE_URL", slot().database_url), ("REDIS_URL", slot().redis_url)):
        if not os.environ.get(variable):
            os.environ[variable] = url
            _started_here.add(variable)


@contextmanager
def running() -> Iterator[Servers]:
    """The servers, from here to the end of the block. What they hold need not survive a crash."""
    places = slot()
    servers = Servers(
        Postgres(places, durable=False) if "DATABASE_URL" in _started_here else None,
        Valkey(places) if "REDIS_URL" in _started_here else None,
    )
    chosen = [server for server in (servers.postgres, servers.valkey) if server is not None]
    try:
        for server in chosen:
            server.begin_log()
            server.start()
        yield servers
    finally:
        for server in reversed(chosen):
            server.stop()


def _free_slot() -> tuple[Places, InstanceLock]:
    for number in count():
        places = Places(instance=f"test/{number}")
        places.prepare()
        lock = InstanceLock(places)
        try:
            lock.take()
        except AlreadyRunning:
            continue
        return places, lock
    raise AssertionError("count() ends")
