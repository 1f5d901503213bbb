"""Fixtures for every test."""

import signal
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, settings

from adapters.openai_chat import client as model_client
from examples.local_service.http import Server
from examples.model.service import ModelService
from runtime import live
from runtime.stack.places import Places
from runtime.stack.processes import wait_until
from runtime.stack.programs import Shape
from runtime.stack.supervisor import Supervisor
from tests import services

pytest.register_assert_rewrite("tests.healthy")

# What Hypothesis draws is the same each time, and a slow machine is no failure; `--hypothesis-profile=long` draws anew.
settings.register_profile(
    "push",
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    print_blob=True,
)
settings.load_profile("push")
settings.register_profile("long", derandomize=False, max_examples=10_000, stateful_step_count=40)


@pytest.fixture(scope="session")
def servers() -> Iterator[services.Servers]:
    """PostgreSQL and Valkey. Whoever asks for the database has them already."""
    with services.running() as running:
        yield running


@pytest.fixture(scope="session")
def django_db_modify_db_settings(servers: services.Servers) -> None:
    """pytest-django asks for this before it makes the test database."""


@pytest.fixture(scope="session")
def stack_environment() -> dict[str, str]:
    """What the processes of `stack` are told beside their addresses; overridden where tests bring their own agents."""
    return {}


@pytest.fixture(scope="session")
def running_stack(stack_environment: dict[str, str]) -> Iterator[Supervisor]:
    """Real processes with default settings on durable servers of their own; nothing in it is the test process's."""
    supervisor = Supervisor(
        Places(instance=f"{services.slot().instance}/stack"),
        Shape(port=0),
        extra_environment={"DJANGO_SETTINGS_MODULE": "aetheris_project.settings", **stack_environment},
        use_given_servers=False,
    )
    with supervisor:
        yield supervisor


@pytest.fixture
def stack(running_stack: Supervisor) -> Iterator[Supervisor]:
    """The running stack, whole at the beginning of each test whatever the one before did to it."""
    # What the test before killed is down for a moment, until the supervisor has started it again.
    assert wait_until(lambda: all(child.alive for child in running_stack.children.values()), timeout=60)
    running_stack.wait_ready(300, everything=True)
    yield running_stack
    for child in running_stack.children.values():
        if child.alive:
            child.resume()


@pytest.fixture
def model(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[httpx.Client]:
    """The scripted model, on a real socket; the runtime asks it, the test tells it what to say."""
    monkeypatch.setattr(model_client._local, "pid", None, raising=False)  # it knows an earlier test's address
    monkeypatch.setattr(live, "_writer", live._reader)  # which is patient
    with Server(ModelService()) as server, httpx.Client(base_url=server.url, trust_env=False) as client:
        url = f"{server.url}/v1"
        settings.AETHERIS = {**settings.AETHERIS, "MODEL_BASE_URL": url, "MODEL_NAME": "scripted-1"}
        yield client


def pytest_configure() -> None:
    """A run that is told to end takes its servers and processes with it, as one that is interrupted does."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
