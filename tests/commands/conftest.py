"""Commands called in this process, on jobs that are driven in this process."""

import json
from collections.abc import Callable, Iterator
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command

from runtime.models import Job
from tests.agents_app.world import World, world
from tests.engine.driving import StillWorker, drive
from tests.healthy import nothing_is_broken


@pytest.fixture(autouse=True)
def outside(db: None) -> Iterator[World]:
    world.reset()
    yield world
    nothing_is_broken()


@pytest.fixture
def worker(outside: World) -> StillWorker:
    worker = StillWorker(name="command-tests")
    worker.start()
    return worker


@pytest.fixture
def driven(worker: StillWorker) -> Callable[..., Job]:
    """A job of an agent, run as far as it goes by itself."""
    return lambda agent, input=None: drive(Job.objects.submit(agent, input), worker)


@pytest.fixture
def boss(outside: World) -> User:
    return User.objects.create_superuser("boss")


def said(name: str, *arguments: Any) -> str:
    """What a command prints for people."""
    out = StringIO()
    call_command(name, *map(str, arguments), stdout=out)
    return out.getvalue()


def asked(name: str, *arguments: Any) -> Any:
    """What a command answers to a program."""
    return json.loads(said(name, *arguments, "--json"))
