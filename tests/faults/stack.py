"""A stack with a proxy before each of its servers, and this process as a client that goes around them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from celery import current_app
from django.conf import settings
from django.db import connections

from aetheris_project import addresses
from runtime import leases, news
from runtime.conf import Settings
from runtime.conf import settings as runtime_settings
from runtime.stack.clean import clean
from runtime.stack.places import DATABASE, DATABASE_USER, Places
from runtime.stack.programs import Shape
from runtime.stack.supervisor import Supervisor
from tests.faults.postgres_wire import PostgresTalk
from tests.faults.proxy import Proxy


@dataclass
class Proxied:
    """The processes of `stack` reach their servers through these, and whoever tests them does not."""

    stack: Supervisor
    before_postgres: Proxy
    before_valkey: Proxy

    def mend(self) -> None:
        self.before_postgres.mend()
        self.before_valkey.mend()


@contextmanager
def proxied(places: Places, shape: Shape, environment: Mapping[str, str]) -> Iterator[Proxied]:
    """A stack as `make stack` runs it, on an empty database."""
    clean(places)
    postgres = Proxy(places.postgres_sockets / ".s.PGSQL.5432", talk=PostgresTalk)
    with postgres, Proxy(places.valkey_socket) as valkey:
        told = {
            "DJANGO_SETTINGS_MODULE": "aetheris_project.settings",
            **environment,
            "DATABASE_URL": f"postgres://{DATABASE_USER}@127.0.0.1:{postgres.port}/{DATABASE}",
            "REDIS_URL": f"redis://127.0.0.1:{valkey.port}/0",
        }
        with Supervisor(places, shape, extra_environment=told, use_given_servers=False) as stack:
            yield Proxied(stack, postgres, valkey)


@contextmanager
def client_of(places: Places) -> Iterator[None]:
    """In here, the database and the broker of this process are those of a stack."""
    database = settings.DATABASES["default"]
    kept, kept_ours = dict(database), dict(settings.AETHERIS)
    connections.close_all()
    database |= addresses.database(places.database_url) | {"OPTIONS": kept["OPTIONS"]}
    patience = Settings().redis_timeout_seconds
    _use({**kept_ours, "REDIS_URL": places.redis_url, "REDIS_TIMEOUT_SECONDS": patience})
    try:
        yield
    finally:
        connections.close_all()
        database.clear()
        database |= kept
        _use(kept_ours)


def _use(ours: Mapping[str, Any]) -> None:
    settings.AETHERIS = dict(ours)
    runtime_settings.cache_clear()
    leases.client.cache_clear()
    news.teller.cache_clear()
    current_app.conf["broker_url"] = addresses.broker(ours["REDIS_URL"])
