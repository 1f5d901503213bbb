"""A forked process that runs a few tests of this checkout: everything is imported already, so it costs no start."""

from __future__ import annotations

import gc
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from django.db import connections
from django.test.utils import teardown_test_environment

from runtime import leases
from tests import services


class SameDatabase:
    """The child's tests find the database as it is: nobody creates or migrates it."""

    def pytest_configure(self, config: pytest.Config) -> None:
        config.pluginmanager.register(_Setup())  # later than pytest-django, so that it counts


class _Setup:
    @pytest.fixture(scope="session")
    @classmethod
    def django_db_setup(cls) -> None:
        """It is there."""


def run(nodes: Sequence[str], output: Path, *, before: Callable[[], None]) -> int:
    """What pytest answers to these tests: 0 when all pass, 1 when one fails. `before` runs in the child."""
    for module in {node.partition(".py")[0].replace("/", ".") for node in nodes}:
        importlib.import_module(module)  # here, so that no child has to
    connections.close_all()  # each process its own
    child = os.fork()
    if child == 0:
        code = 70
        try:
            code = _tests(nodes, output, before)
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def _tests(nodes: Sequence[str], output: Path, before: Callable[[], None]) -> int:
    with output.open("w") as told:
        os.dup2(told.fileno(), 1)
        os.dup2(told.fileno(), 2)
        sys.stdout = sys.stderr = told
        gc.freeze()  # pytest collects it all at its end, otherwise
        services._started_here.clear()  # the servers are the parent's
        leases.client.cache_clear()
        teardown_test_environment()  # pytest sets it up again
        before()
        quiet = ("-q", "-x", "-p", "no:cacheprovider", "--no-header", "--tb=line", "--timeout=120")
        return int(pytest.main([*quiet, *nodes], plugins=[SameDatabase()]))
