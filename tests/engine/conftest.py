"""Engine tests run on real servers, in this process. After each, nothing of any job may be broken."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import User
from django.db import connection
from django.db.models import Model

from runtime import clock, dispatch, leases, news, ports
from runtime.incarnation import Incarnation
from runtime.models import Job
from tests.agents_app.world import World, world
from tests.engine import driving
from tests.engine.driving import StillWorker, Threads
from tests.healthy import nothing_is_broken


@pytest.fixture
def transactional_db(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """Real transactions, and empty tables afterwards: at a tenth of what Django's flush takes."""
    with django_db_blocker.unblock():
        yield
        empty_tables()


@pytest.fixture(autouse=True)
def outside(transactional_db: None) -> Iterator[World]:
    """The world, as at the beginning; and at the end, jobs that keep what they promise."""
    world.reset()
    empty_redis()
    yield world
    ports.crash_hook = ports._pass
    nothing_is_broken()


def empty_tables() -> None:
    """As a replica would: no trigger fires, so that events go too."""
    models: list[type[Model]] = [*apps.get_app_config("runtime").get_models(), User]
    tables = [f'"{model._meta.db_table}"' for model in models]
    deletes = ";".join(f"DELETE FROM {table}" for table in tables)
    with connection.cursor() as cursor:
        cursor.execute(f"BEGIN; SET LOCAL session_replication_role = replica; {deletes}; COMMIT")


@pytest.fixture
def worker(outside: World) -> Iterator[StillWorker]:
    worker = StillWorker(name="first")
    worker.start()
    yield worker
    worker.stop()


@pytest.fixture
def other(outside: World) -> Iterator[StillWorker]:
    """Another worker process."""
    worker = StillWorker(name="other")
    worker.start()
    yield worker
    worker.stop()


@pytest.fixture
def drive(worker: Incarnation) -> Callable[..., Job]:
    """Run a job as far as it goes by itself."""
    return lambda job, **keys: driving.drive(job, worker, **keys)


class Clock:
    def forward(self, **units: float) -> None:
        """Move the time of this process and its connection. Connections that are open in other threads stay."""
        clock.shift(clock.offset() + timedelta(**units))


@pytest.fixture(name="clock")
def moving_clock(outside: World) -> Iterator[Clock]:
    yield Clock()
    clock.shift(timedelta(0))


@pytest.fixture
def pair(outside: World) -> Iterator[Threads]:
    """Two threads with a connection each."""
    threads = Threads(2)
    yield threads
    threads.close()


def empty_redis() -> None:
    for breaker in (dispatch.breaker, leases.breaker):
        breaker.reset()
    redis = leases.client()
    if keys := list(redis.scan_iter("aetheris:*", count=1000)):
        redis.delete(*keys)


@pytest.fixture
def redis_away(settings: Any) -> Iterator[None]:
    settings.AETHERIS = {**settings.AETHERIS, "REDIS_URL": "redis://127.0.0.1:1/0"}
    forget_clients()
    yield
    forget_clients()


def forget_clients() -> None:
    leases.client.cache_clear()
    news.teller.cache_clear()
    for breaker in (leases.breaker, news.breaker):
        breaker.reset()


@pytest.fixture
def boss(outside: World) -> User:
    """May decide everything."""
    return User.objects.create_superuser("boss")
