"""The processes of one system in one round: its servers, its workers, and the client that the harness talks to."""

import json
import os
import select
import shutil
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil

from benchmarks import environments
from benchmarks.catalog import Server, System
from benchmarks.orders import WORKERS, Order
from benchmarks.servers import Servers
from benchmarks.witness import Witness
from runtime.stack.child import Child
from runtime.stack.errors import ServerFailed
from runtime.stack.places import CHECKOUT


class Process(Child):
    """One process of a system."""

    grace = 5.0

    def __init__(
        self, name: str, log: Path, command: list[str], environment: Mapping[str, str], port: int = 0
    ) -> None:
        super().__init__(name, log)
        self.command = command
        self.environment = environment
        self.ready_file = Path(environment["BENCH_READY"])
        self.port = port

    def _start(self) -> None:
        self.ready_file.unlink(missing_ok=True)
        self._spawn(self.command, self.environment, cwd=CHECKOUT)

    @property
    def process(self) -> psutil.Process:
        return psutil.Process(self.pid)

    def ready(self) -> bool:
        return answers(self.port) if self.port else self.ready_file.exists()


PATIENCE = 300
"""Seconds that a client has for an answer."""


class ClientFailed(Exception):
    """The client of a system ended, or has taken too long, instead of answering."""


class Client:
    """The system's own client, in its own environment; see `peer.py`."""

    def __init__(self, command: list[str], environment: Mapping[str, str], log: Path) -> None:
        self.log = log
        with open(log, "wb") as errors:
            self.process = subprocess.Popen(
                command,
                env=dict(environment),
                cwd=CHECKOUT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,
            )

    def ask(self, do: str, **what: Any) -> dict[str, Any]:
        assert self.process.stdin and self.process.stdout
        print(json.dumps({"do": do, **what}), file=self.process.stdin, flush=True)
        if not select.select([self.process.stdout], [], [], PATIENCE)[0]:
            raise ClientFailed(f"The client did not {do} within {PATIENCE} s. Log: {self.log}")
        answer = self.process.stdout.readline()
        if not answer:
            raise ClientFailed(f"The client ended while it was asked to {do}. Log: {self.log}")
        found: dict[str, Any] = json.loads(answer)
        return found

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


class Fleet:
    """Starts a system on an empty database, and ends it."""

    def __init__(self, system: System, servers: Servers, workers: int = WORKERS) -> None:
        self.system = system
        self.servers = servers
        self.python = environments.python_of(system)
        self.home = servers.places.local / "homes" / system.name
        self.database = f"bench_{system.name}"
        self.extra: list[Process] = []
        self.workers: list[Process] = []
        self.worker_count = workers

    def __enter__(self) -> "Fleet":
        shutil.rmtree(self.home, ignore_errors=True)
        self.home.mkdir(parents=True)
        self.witness = Witness(self.home / "witness")
        self.servers.clear(self.database)
        self.ports = [free_port() for _ in range(3)]
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _start(self) -> None:
        needed = [each for each in self.system.servers if each.ports]
        for server in needed:
            self._serve(server)
        self._set_up()
        for server in self.system.servers:
            if server not in needed:
                self._serve(server)
        for number in range(self.worker_count):
            name = f"worker-{number}"
            worker = Process(name, self.log(name), self._peer("serve", str(number)), self._environment(name))
            worker.start()
            self.workers.append(worker)
        self.client = Client(self._peer("client"), self._environment("client"), self.log("client"))
        for worker in self.workers:
            worker.wait_ready()
        self.client.ask("hello")

    def stop(self) -> None:
        if hasattr(self, "client"):
            self.client.close()
        for process in [*self.workers, *self.extra]:
            process.ask_to_stop()
        for process in [*self.workers, *self.extra]:
            process.stop()

    def look_after(self) -> None:
        """Raises `ServerFailed` when one of the processes has ended: without it figures mean nothing."""
        for process in [*self.workers, *self.extra]:
            if not process.alive:
                process.wait_ready()

    def log(self, name: str) -> Path:
        return self.servers.places.logs / f"{self.system.name}-{name}.log"

    @property
    def groups(self) -> dict[str, list[psutil.Process]]:
        """Whose processor time is counted as what."""
        found = {
            "worker": [each.process for each in self.workers],
            "server": [each.process for each in self.extra],
            "database": [psutil.Process(self.servers.postgres.pid)],
            "redis": [psutil.Process(self.servers.valkey.pid)],
            "client": [psutil.Process(self.client.process.pid)],
        }
        return {name: processes for name, processes in found.items() if processes}

    def run(self, orders: list[Order]) -> dict[str, Any]:
        return self.client.ask("run", orders=[vars(order) for order in orders])

    def submit(self, orders: list[Order]) -> dict[str, Any]:
        return self.client.ask("submit", orders=[vars(order) for order in orders])

    def wait(self) -> dict[str, Any]:
        return self.client.ask("wait")

    def _serve(self, server: Server) -> None:
        environment = self._environment(server.name)
        variables = {name: self._filled(value) for name, value in server.variables.items()}
        process = Process(
            server.name,
            self.log(server.name),
            [self._filled(part) for part in server.command],
            {**environment, **variables},
            self.ports[0] if server.ports else 0,
        )
        process.start()
        self.extra.append(process)
        if server.ports:
            process.wait_ready()

    def _filled(self, text: str) -> str:
        """What a catalog entry leaves open."""
        url = self.servers.url(self.database)
        return text.format(
            python=self.python,
            environment=self.python.parent.parent,
            home=self.home,
            port=self.ports[0],
            admin_port=self.ports[1],
            node_port=self.ports[2],
            asyncpg=url.replace("postgresql", "postgresql+asyncpg"),
        )

    def _set_up(self) -> None:
        done = subprocess.run(
            self._peer("setup"),
            env=self._environment("setup"),
            cwd=CHECKOUT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self.log("setup").write_bytes(done.stdout)
        if done.returncode != 0:
            raise ServerFailed(
                f"{self.system.name} setup", f"ended with code {done.returncode}", self.log("setup")
            )

    def _peer(self, *role: str) -> list[str]:
        return [str(self.python), "-m", "benchmarks.peer", self.system.name, *role]

    def _environment(self, name: str) -> dict[str, str]:
        ready = self.home / f"{name}.ready"
        return {
            **os.environ,
            "DATABASE_URL": self.servers.url(self.database),
            "REDIS_URL": self.servers.redis_url,
            "PYTHONPATH": str(CHECKOUT),
            "PYTHONUNBUFFERED": "1",
            "AETHERIS_READY_FILE": str(ready),
            "AETHERIS_PROCESS": name,
            **{key: self._filled(value) for key, value in self.system.variables.items()},
            "BENCH_DATABASE_URL": self.servers.url(self.database),
            "BENCH_REDIS_URL": self.servers.redis_url,
            "BENCH_WITNESS": str(self.witness.path),
            "BENCH_READY": str(ready),
            "BENCH_HOME": str(self.home),
            "BENCH_PORT": str(self.ports[0]),
            "BENCH_ADMIN_PORT": str(self.ports[1]),
        }


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
