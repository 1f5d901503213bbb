"""The outside services of the examples, on real sockets."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from examples.local_service.http import Server, Service
from examples.model.service import ModelService
from examples.payments.service import PaymentService


def client_of(service: Service) -> Iterator[httpx.Client]:
    with Server(service) as server, httpx.Client(base_url=server.url, timeout=60, trust_env=False) as client:
        yield client


@pytest.fixture
def payments(tmp_path: Path) -> Iterator[httpx.Client]:
    """A client of a payment service with an empty file."""
    yield from client_of(PaymentService(tmp_path / "effects.jsonl"))


@pytest.fixture
def model() -> Iterator[httpx.Client]:
    """A client of a scripted model."""
    yield from client_of(ModelService())
