"""Users of every role, clients that speak as them, and jobs driven in this process."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from rest_framework.authtoken.models import Token

from runtime import permissions, planning
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
    worker = StillWorker(name="web-tests")
    worker.start()
    return worker


class Api:
    """A client of the API with a token of its own, or none."""

    def __init__(self, user: User | None) -> None:
        token = f"Token {Token.objects.get_or_create(user=user)[0]}" if user else ""
        self.client = Client(headers={"Authorization": token} if token else {})

    def get(self, path: str, **query: Any) -> Any:
        return self.client.get(f"/api/v1/{path}", query)

    def post(self, path: str, body: Any = None, **headers: str) -> Any:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        content = body if isinstance(body, (bytes, str)) else None
        return self.client.post(
            f"/api/v1/{path}",
            content if content is not None else (body or {}),
            content_type="application/json",
            headers=named,
        )


@pytest.fixture
def user_of(db: None) -> Callable[[str], User]:
    def make(role: str, name: str | None = None) -> User:
        user, _ = User.objects.get_or_create(username=name or role)
        user.set_password("secret")
        user.save()
        user.groups.add(Group.objects.get(name=role))
        return User.objects.get(pk=user.pk)

    return make


@pytest.fixture
def api(user_of: Callable[..., User]) -> Callable[..., Api]:
    """`api("operator")`, `api("submitter", "anna")`, `api(None)` for a stranger."""
    return lambda role, name=None: Api(user_of(role, name) if role else None)


@pytest.fixture
def browser_of(user_of: Callable[..., User]) -> Callable[..., Client]:
    def make(role: str, name: str | None = None) -> Client:
        client = Client()
        client.force_login(user_of(role, name))
        return client

    return make


@pytest.fixture
def job_of(worker: StillWorker) -> Callable[..., Job]:
    """A job, driven as far as it goes by itself."""

    def make(agent: str | None, input: Any = None, *, by: User | None = None, **keys: Any) -> Job:
        who = permissions.principal(by) if by else ""
        return drive(planning.submit(agent, input, by=who, **keys), worker)

    return make


@pytest.fixture
def go_on(worker: StillWorker) -> Callable[[Job], Job]:
    return lambda job: drive(job, worker)
