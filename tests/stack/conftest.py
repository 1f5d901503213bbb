"""Instances of the stack that each test has for itself."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.stack.places import Places
from runtime.stack.postgres import Postgres
from runtime.stack.valkey import Valkey


@pytest.fixture
def places(tmp_path: Path) -> Iterator[Places]:
    """An empty checkout."""
    yield from _temporary(tmp_path / "checkout")


@pytest.fixture
def other_places(tmp_path: Path) -> Iterator[Places]:
    """Another checkout beside the first."""
    yield from _temporary(tmp_path / "other")


@pytest.fixture
def postgres(places: Places) -> Iterator[Postgres]:
    server = Postgres(places)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def valkey(places: Places) -> Iterator[Valkey]:
    server = Valkey(places)
    server.start()
    yield server
    server.stop()


def _temporary(checkout: Path) -> Iterator[Places]:
    checkout.mkdir()
    checkout.parent.chmod(0o755)
    checkout.parent.parent.chmod(0o755)
    places = Places(checkout)
    places.prepare()
    yield places
    for directory in (places.run, places.refuge):
        shutil.rmtree(directory, ignore_errors=True)
