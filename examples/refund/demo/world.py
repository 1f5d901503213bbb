"""The outside world of the demo: the payment service and, without a key, the scripted model."""

import os
import socket
import sys
from typing import Any, Self

import httpx

from runtime.stack.child import Child
from runtime.stack.places import Places


class ExampleService(Child):
    """One of the example services, as a process that ends with the demo, however the demo ends."""

    patience = 20.0

    def __init__(self, name: str, places: Places, *arguments: str) -> None:
        super().__init__(name, places.logs / f"{name}.log")
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._checkout = places.checkout
        self._command = [f"examples.{name}", f"--port={self.port}", "--with-parent", *arguments]

    def _start(self) -> None:
        self._spawn([sys.executable, "-m", *self._command], cwd=self._checkout)

    def ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/healthz", timeout=2, trust_env=False).is_success
        except httpx.TransportError:
            return False


class World:
    """Everything the agents talk to, and the environment that tells them where it is."""

    def __init__(self, places: Places) -> None:
        self.payments = ExampleService("payments", places, "--file", str(places.local / "effects.jsonl"))
        self.model = None if os.environ.get("OPENAI_API_KEY") else ExampleService("model", places)
        self.witness = Witness(self.payments.url)

    @property
    def environment(self) -> dict[str, str]:
        """Where workers find it."""
        told = {"AETHERIS_DEMO_PAYMENTS_URL": self.payments.url}
        if self.model:
            told |= {
                "OPENAI_BASE_URL": f"{self.model.url}/v1",
                "OPENAI_API_KEY": "scripted",
                "OPENAI_MODEL": "scripted-1",
                "NO_PROXY": ",".join(filter(None, [os.environ.get("NO_PROXY"), "127.0.0.1"])),
            }
        return told

    def wait_ready(self) -> None:
        """Come back when all of it can be spoken to."""
        for service in self._services:
            service.wait_ready()

    def __enter__(self) -> Self:
        for service in self._services:
            service.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        for service in self._services:
            service.stop()

    @property
    def _services(self) -> list[ExampleService]:
        return [self.payments, self.model] if self.model else [self.payments]


class Witness:
    """What happened outside, asked of the payment service itself."""

    def __init__(self, url: str) -> None:
        self._client = httpx.Client(base_url=url, timeout=5, trust_env=False)

    def effects(self, order_id: str, kind: str = "refund") -> list[dict[str, Any]]:
        """The effects that an order has had."""
        answer = self._client.get("/effects", params={"order": order_id}).raise_for_status()
        return [effect for effect in answer.json()["effects"] if effect["kind"] == kind]

    def requests(self, key: str) -> int:
        """How often something was sent with this key."""
        return int(self._client.get("/requests").raise_for_status().json()["by_key"].get(key, 0))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
