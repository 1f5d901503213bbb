"""python -m runtime.stack.clean: remove the data and sockets of this checkout, after ending what still runs there."""

import shutil
import sys

from runtime.stack.errors import StackError
from runtime.stack.lock import InstanceLock
from runtime.stack.places import CHECKOUT, Places
from runtime.stack.postgres import Postgres
from runtime.stack.supervisor import finish_predecessors
from runtime.stack.valkey import Valkey


def clean(places: Places) -> None:
    """Remove one instance. Raises `AlreadyRunning` rather than pull the floor from under a stack that runs."""
    places.prepare()
    lock = InstanceLock(places)
    lock.take()
    finish_predecessors(places, print)
    for server in (Valkey(places), Postgres(places)):
        server.clear_leftovers()
    for directory in (places.run, places.refuge, places.local):
        shutil.rmtree(directory, ignore_errors=directory != places.local)
    lock.release()


def instances() -> list[Places]:
    """Those of the tests first, since the developer's own directory holds them all."""
    locks = sorted((CHECKOUT / ".local" / "test").rglob("stack.lock"), key=lambda lock: -len(lock.parts))
    return [Places(instance=str(lock.parent.relative_to(CHECKOUT / ".local"))) for lock in locks] + [Places()]


if __name__ == "__main__":
    try:
        for places in instances():
            clean(places)
    except StackError as error:
        sys.exit(str(error))
