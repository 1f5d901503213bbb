"""Where chaos happens: a stack behind proxies, and an outside world that keeps its own account."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from examples.local_service.http import Server
from examples.payments.payouts import Payouts
from examples.payments.service import PaymentService
from runtime.stack.places import Places
from runtime.stack.programs import Shape
from tests.faults.stack import Proxied, client_of, proxied
from tests.processes.outside import agents, tools  # noqa: F401 - what is submitted here has to be known here
from tests.processes.witness import Witness

SHAPE = Shape(port=0, beat=False)


@dataclass
class Ground(Proxied):
    payments: PaymentService
    witness: Witness


@contextmanager
def ground(places: Places, *apps: str, **environment: str) -> Iterator[Ground]:
    """Running, with this process as a client of it. The processes have these apps and this environment as well."""
    told = {"AETHERIS_APPS": ",".join(["tests.processes.outside", *apps]), **environment}
    with (
        TemporaryDirectory() as world,
        _ground(places, PaymentService(Path(world) / "effects.jsonl"), told) as ground,
    ):
        yield ground


@contextmanager
def _ground(places: Places, payments: PaymentService, told: dict[str, str]) -> Iterator[Ground]:
    with Server(payments) as server:
        witness = Witness(server.url)
        with proxied(places, SHAPE, {**told, "WITNESS_URL": server.url}) as found:
            payments.payouts = Payouts(f"{found.stack.url}/api/v1/webhooks/witness", tools.WEBHOOK_SECRET)
            found.stack.say = lambda line: None  # that things end and are started again is the point
            found.stack.wait_ready(300, everything=True)
            logging.getLogger("httpx").setLevel(logging.WARNING)
            with client_of(places):
                yield Ground(found.stack, found.before_postgres, found.before_valkey, payments, witness)
        witness.close()
