"""The processes of Aetheris itself: web, workers, sweeper, beat."""

import http.client
import os
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from runtime.stack.child import Child
from runtime.stack.places import Places

WORKER = ["-m", "aetheris_project.run", "worker"]
BEAT = ["-m", "aetheris_project.run", "beat"]
WEB = [
    "-m",
    "gunicorn",
    "aetheris_project.wsgi:application",
    "--worker-class",
    "gthread",
    "--workers",
    "1",
    "--threads",
    "8",
]
WEB += ["--graceful-timeout", "5", "--no-control-socket"]
QUEUES = ("realtime", "default", "background")
HEAVY = ("heavy",)


@dataclass(frozen=True)
class Shape:
    """How many of what a stack runs, and where it serves."""

    host: str = "127.0.0.1"
    port: int = 8000
    web: bool = True
    workers: int = 2
    concurrency: int = 16
    heavy: int = 1
    capabilities: str = ""
    """Of the workers, separated by commas: what steps may require."""
    sweepers: int = 1
    beat: bool = True

    @classmethod
    def servers_only(cls) -> "Shape":
        """PostgreSQL and Valkey and nothing else."""
        return cls(web=False, workers=0, heavy=0, sweepers=0, beat=False)


class Program(Child):
    """One process that runs our own code."""

    grace = 30.0  # a worker drains for 20 s (AETHERIS["DRAIN_SECONDS"]) and hands back what it holds within a lease

    def __init__(
        self,
        name: str,
        places: Places,
        arguments: list[str],
        environment: Mapping[str, str],
        *,
        serves: socket.socket | None = None,
        says_ready: bool = False,
        waits: bool = False,
    ) -> None:
        super().__init__(name, places.logs / f"{name}.log")
        self.command = [sys.executable, *arguments]
        self.waits = waits  # may start after the others: a new stack has nothing for it to do yet
        self.checkout = places.checkout
        self.serves = serves
        self.ready_file = places.local / "ready" / name if says_ready else None
        self.environment = {
            **environment,
            "AETHERIS_PROCESS": name,
            **({"AETHERIS_READY_FILE": str(self.ready_file)} if self.ready_file else {}),
        }

    def _start(self) -> None:
        self.clear_leftovers()
        if self.ready_file:
            self.ready_file.parent.mkdir(exist_ok=True)
            self.ready_file.unlink(missing_ok=True)
        inherited = [self.serves.fileno()] if self.serves else []
        self._spawn(self.command, self.environment, cwd=self.checkout, pass_fds=inherited)

    def ready(self) -> bool:
        if self.serves:
            return _answers(self.serves)
        return self.ready_file is None or self.ready_file.exists()


def programs(
    shape: Shape, places: Places, environment: Mapping[str, str], listening: socket.socket | None
) -> list[Program]:
    """The processes of this shape, in the order in which they start."""
    found = []
    if listening:
        bind = ["--bind", f"fd://{listening.fileno()}"]
        found.append(Program("web", places, [*WEB, *bind], environment, serves=listening))
    if has_command("sweeper", places.checkout):
        for number in range(1, shape.sweepers + 1):
            found.append(Program(f"sweeper-{number}", places, ["manage.py", "sweeper"], environment))
    able = {**environment, "AETHERIS_CAPABILITIES": shape.capabilities} if shape.capabilities else environment
    for number in range(1, shape.workers + 1):
        arguments = _worker(f"worker-{number}", "threads", shape.concurrency, QUEUES)
        found.append(Program(f"worker-{number}", places, arguments, able, says_ready=True, waits=number > 1))
    for number in range(1, shape.heavy + 1):
        arguments = _worker(f"heavy-{number}", "prefork", 1, HEAVY)
        found.append(Program(f"heavy-{number}", places, arguments, able, says_ready=True, waits=True))
    if shape.beat:
        found.append(Program("beat", places, BEAT, environment, waits=True))
    return found


def has_command(name: str, checkout: Path) -> bool:
    return (checkout / "runtime" / "management" / "commands" / f"{name}.py").exists()


def environment(
    places: Places, database_url: str, redis_url: str, extra: Mapping[str, str]
) -> dict[str, str]:
    """What every process of the stack is told."""
    path = os.pathsep.join(filter(None, [str(places.checkout), os.environ.get("PYTHONPATH")]))
    return {
        **os.environ,
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "DJANGO_SETTINGS_MODULE": os.environ.get("DJANGO_SETTINGS_MODULE", "aetheris_project.settings"),
        "PYTHONPATH": path,
        "PYTHONUNBUFFERED": "1",
        "CELERY_SKIP_CHECKS": "1",  # they ran with the migrations
        **extra,
    }


def _worker(name: str, pool: str, concurrency: int, queues: tuple[str, ...]) -> list[str]:
    chosen = {
        "--name": name,
        "--pool": pool,
        "--concurrency": str(concurrency),
        "--queues": ",".join(queues),
    }
    return [*WORKER, *(part for option in chosen.items() for part in option)]


def _answers(listening: socket.socket) -> bool:
    host, port = listening.getsockname()[:2]
    connection = http.client.HTTPConnection("127.0.0.1" if host == "0.0.0.0" else host, port, timeout=2)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
