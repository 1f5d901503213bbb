"""One run for all tests of a module: its threads keep their connections."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from tests.engine.conftest import transactional_db
from tests.simulation.running import Run

__all__ = ["transactional_db"]


@pytest.fixture(scope="module")
def running(django_db_setup: None, django_db_blocker: Any) -> Iterator[Run]:
    logging.disable(logging.CRITICAL)  # what goes wrong in a simulation is meant to
    with django_db_blocker.unblock(), Run() as run:
        yield run
    logging.disable(logging.NOTSET)


@pytest.fixture
def run(running: Run, transactional_db: None) -> Run:
    return running
