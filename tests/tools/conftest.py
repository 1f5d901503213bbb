"""A call's context without a runtime, and servers that misbehave as told."""

from collections.abc import Callable, Iterator

import pytest

from tests.tools.outside import Script, Server


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    """Start a server on the loopback that follows one script for each connection."""
    servers: list[Server] = []

    def start(*scripts: Script, **options: object) -> Server:
        servers.append(Server(scripts, **options))  # type: ignore[arg-type]
        return servers[-1]

    yield start
    for server in servers:
        server.close()
