"""One ground for all runs."""

from collections.abc import Iterator

import pytest
from pytest_django.plugin import DjangoDbBlocker

from runtime.stack.places import Places
from tests import services
from tests.chaos import ground as grounds
from tests.chaos.ground import Ground
from tests.chaos.judge import Verdict

verdicts: list[Verdict] = []


@pytest.fixture(scope="package")
def ground(django_db_blocker: DjangoDbBlocker) -> Iterator[Ground]:
    places = Places(instance=f"{services.slot().instance}/chaos")
    with django_db_blocker.unblock(), grounds.ground(places) as ground:
        yield ground


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for verdict in verdicts:
        terminalreporter.write_line(str(verdict))
