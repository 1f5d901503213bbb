"""The stack these tests break, the witness its tools act on, and this process as one more client of both."""

import logging
from collections.abc import Generator, Iterator
from statistics import median

import pytest
from pytest_django.plugin import DjangoDbBlocker

from examples.local_service.http import Server
from examples.payments.payouts import Payouts
from examples.payments.service import PaymentService
from runtime.stack.places import Places
from runtime.stack.programs import Shape
from runtime.stack.supervisor import Supervisor
from tests import services
from tests.faults.proxy import Proxy
from tests.faults.stack import Proxied, client_of, proxied
from tests.processes.client import Client
from tests.processes.judging import Judging
from tests.processes.outside import agents, tools  # noqa: F401 - what is submitted here has to be known here
from tests.processes.reports import report
from tests.processes.witness import Flags, Witness

recoveries: dict[str, list[float]] = {}
"""Seconds until the next attempt, by what was lost."""


@pytest.fixture(scope="package")
def payments(tmp_path_factory: pytest.TempPathFactory) -> PaymentService:
    return PaymentService(tmp_path_factory.mktemp("witness") / "effects.jsonl")


@pytest.fixture(scope="package")
def witness(payments: PaymentService) -> Iterator[Witness]:
    """The outside world, with a memory of its own."""
    logging.getLogger("httpx").setLevel(logging.WARNING)  # the witness is asked many times a second
    with Server(payments) as server:
        witness = Witness(server.url)
        yield witness
        witness.close()


@pytest.fixture(scope="package")
def flags(tmp_path_factory: pytest.TempPathFactory) -> Flags:
    """Which crash point kills the next worker that comes by."""
    return Flags(tmp_path_factory.mktemp("flags"))


@pytest.fixture(scope="package")
def proxied_stack(witness: Witness, payments: PaymentService, flags: Flags) -> Iterator[Proxied]:
    """A stack as `make stack` runs it, with our agents, a hook at the crash points, and proxies before its servers."""
    environment = {
        "AETHERIS_APPS": "tests.processes.outside",
        "AETHERIS_CRASH_AT": flags.spec,
        "WITNESS_URL": witness.url,
    }
    places = Places(instance=f"{services.slot().instance}/processes")
    with proxied(places, Shape(port=0), environment) as found:
        payments.payouts = Payouts(f"{found.stack.url}/api/v1/webhooks/witness", tools.WEBHOOK_SECRET)
        yield found


@pytest.fixture(scope="package")
def running_stack(proxied_stack: Proxied) -> Supervisor:
    return proxied_stack.stack


@pytest.fixture(scope="package")
def at_the_stack(running_stack: Supervisor, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """The database and the broker of this process are the stack's."""
    with django_db_blocker.unblock(), client_of(running_stack.places):
        yield


@pytest.fixture
def before_postgres(client: Client, proxied_stack: Proxied) -> Iterator[Proxy]:
    """What stands between the processes and PostgreSQL; whole again after the test."""
    yield proxied_stack.before_postgres
    proxied_stack.mend()


@pytest.fixture
def before_valkey(client: Client, proxied_stack: Proxied) -> Iterator[Proxy]:
    yield proxied_stack.before_valkey
    proxied_stack.mend()


@pytest.fixture
def client(
    running_stack: Supervisor, at_the_stack: None, witness: Witness, payments: PaymentService, flags: Flags
) -> Iterator[Client]:
    """A whole stack at the beginning, and at the end a history in which `doctor` and the checker find nothing."""
    client = Client(running_stack, witness, recoveries)
    client.wait_whole()
    judging = Judging(client, payments)
    yield client
    flags.lower()
    witness.forgive()
    client.resume_all()
    client.settle()
    judging.assert_good()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What was measured on the way."""
    for what, took in recoveries.items():
        figures = " ".join(f"{each:.1f}" for each in sorted(took))
        terminalreporter.write_line(
            f"until the next attempt: {what}, {len(took)} times: {figures} s; "
            f"median {median(took):.1f} s, worst {max(took):.1f} s"
        )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failure shows the events of its jobs and the last lines of every process."""
    outcome = yield
    client = getattr(item, "funcargs", {}).get("client")
    if outcome.failed and client is not None:
        outcome.sections += report(client)
    return outcome
