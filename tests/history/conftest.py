"""A real history: jobs of every kind, run once, and read by every test of the checker."""

from collections.abc import Iterator
from typing import Any

import pytest
from pytest_django.plugin import DjangoDbBlocker

from runtime import ports
from tests.agents_app.world import world
from tests.engine.conftest import empty_redis, empty_tables
from tests.history import sample


@pytest.fixture(scope="module")
def real_history(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[list[dict[str, Any]]]:
    """The records of `sample`."""
    with django_db_blocker.unblock():
        world.reset()
        empty_redis()
        try:
            yield sample.records()
        finally:
            ports.crash_hook = ports._pass
            empty_tables()
