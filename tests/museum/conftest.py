"""The engine's fixtures, and the API and the pages as somebody who may do everything."""

from collections.abc import Iterator

import pytest
from django.contrib.auth.models import User
from django.test import Client
from rest_framework.authtoken.models import Token

from tests.engine.conftest import boss, drive, moving_clock, other, outside, pair, transactional_db, worker
from tests.web.conftest import Api

__all__ = ["boss", "drive", "moving_clock", "other", "outside", "pair", "transactional_db", "worker"]


@pytest.fixture
def api(boss: User) -> Iterator[Api]:
    yield Api(boss)
    Token.objects.all().delete()


@pytest.fixture
def browser(boss: User) -> Client:
    client = Client()
    client.force_login(boss)
    return client
