"""Starts the stack, starts again what dies, and ends it in order.

    with Supervisor() as stack:
        stack.wait_ready()
        stack.children["worker-1"].kill()

What it runs is written down with pid and start time. When the supervisor itself is killed, the next one finds
there what is still running, ends it, and starts afresh.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType

from runtime.stack import ports, processes
from runtime.stack.child import Child
from runtime.stack.echo import Echo
from runtime.stack.errors import ServerFailed, StackError
from runtime.stack.lock import InstanceLock
from runtime.stack.places import DATABASE, Places
from runtime.stack.postgres import Postgres
from runtime.stack.processes import Identity
from runtime.stack.programs import Program, Shape, environment, programs
from runtime.stack.valkey import Valkey

FIRST_DELAY = 0.1
LONGEST_DELAY = 10.0
HEALTHY_AFTER = 30.0


def delay_after(previous: float, lived: float) -> float:
    """How long to wait before the next start: longer each time, unless it had run well for a while."""
    return FIRST_DELAY if lived >= HEALTHY_AFTER else min(max(previous * 2, FIRST_DELAY), LONGEST_DELAY)


class Supervisor:
    """The stack of one instance. DATABASE_URL and REDIS_URL, where set, stand for the servers it would start.

    `migrate` is for callers that have Django loaded, with this very database: it spares them a process.
    """

    def __init__(
        self,
        places: Places | None = None,
        shape: Shape | None = None,
        *,
        migrate: Callable[[], object] | None = None,
        extra_environment: Mapping[str, str] | None = None,
        database: str = DATABASE,
        say: Callable[[str], None] = print,
        echo: bool = False,
        use_given_servers: bool = True,
    ) -> None:
        self.places = places or Places()
        self.shape = shape or Shape()
        self.say = say
        self.restarts: dict[str, int] = {}
        self.children: dict[str, Child] = {}
        given = os.environ if use_given_servers else {}
        self.postgres = None if given.get("DATABASE_URL") else Postgres(self.places)
        self.valkey = None if given.get("REDIS_URL") else Valkey(self.places)
        self.database = database
        self.environment = environment(
            self.places,
            given.get("DATABASE_URL") or self.places.database_url_of(database),
            given.get("REDIS_URL") or self.places.redis_url,
            extra_environment or {},
        )
        self._migrate = migrate or self._migrate_in_a_process
        self._late: list[Program] = []
        self._echoes = echo
        self._echo: Echo | None = None
        self._lock = InstanceLock(self.places)
        self._listening: socket.socket | None = None
        self._delays: dict[str, float] = {}
        self._ending = threading.Event()
        self._watch: threading.Thread | None = None

    def __enter__(self) -> "Supervisor":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """Where the web process serves."""
        if self._listening is None:
            raise StackError("This stack runs no web process.")
        host, port = self._listening.getsockname()[:2]
        return f"http://{'localhost' if host in ('127.0.0.1', '0.0.0.0') else host}:{port}"

    @property
    def programs(self) -> list[Program]:
        return [child for child in self.children.values() if isinstance(child, Program)]

    def start(self) -> None:
        """Servers, then migrations, then the processes; everything is ended again if one of them fails."""
        self.places.prepare()
        self._lock.take()
        try:
            finish_predecessors(self.places, self.say)
            self._start_servers()
            self._start_programs()
        except BaseException:
            self.stop()
            raise
        self._watch = threading.Thread(target=self._keep_alive, name="supervisor", daemon=True)
        self._watch.start()

    def wait_ready(self, timeout: float = 120.0, *, everything: bool = False) -> None:
        """Come back when jobs can be submitted and run, or only when `everything` is up (queue `heavy`, schedules)."""
        end = time.monotonic() + timeout
        if everything:
            processes.wait_until(lambda: not self._late, timeout)
        for child in self.children.values():
            child.wait_ready(max(end - time.monotonic(), 0.1))

    def stop(self) -> None:
        """The processes side by side, then Valkey, then PostgreSQL."""
        self._ending.set()
        if self._watch is not None:
            self._watch.join()
        for program in self.programs:
            program.ask_to_stop()
        for child in [*self.programs, self.valkey, self.postgres]:
            if child is not None:
                child.stop()
        if self._echo is not None:
            self._echo.close()
        if self._listening is not None:
            self._listening.close()
        self.places.record.unlink(missing_ok=True)
        self._lock.release()

    def hurry(self) -> None:
        """For whoever cannot wait for `stop`: kill what is still running of our own code."""
        for program in self.programs:
            if program.alive:
                program.kill()

    def manage(
        self, *arguments: str, check: bool = True, timeout: float = 120
    ) -> subprocess.CompletedProcess[str]:
        """Run a command of manage.py against this stack."""
        return subprocess.run(
            [sys.executable, str(self.places.checkout / "manage.py"), *arguments],
            env=self.environment,
            cwd=self.places.checkout,
            check=check,
            timeout=timeout,
            text=True,
            stdin=subprocess.DEVNULL,
            capture_output=True,
        )

    def _start_servers(self) -> None:
        for server in (self.postgres, self.valkey):
            if server is not None:
                server.begin_log()
                self._add(server)
        if self.postgres is not None:
            self.postgres.create(self.database)

    def _start_programs(self) -> None:
        if self.shape.web:
            self._listening = ports.listen(self.shape.host, self.shape.port)
            self._tell_port(self._listening.getsockname()[1])
        found = programs(self.shape, self.places, self.environment, self._listening)
        if found:
            self._migrate()
        for program in found:
            program.begin_log()
        if self._echoes:
            self._echo = Echo([(program.name, program.log) for program in found], self.say)
        self._late = [program for program in found if program.waits]
        for program in found:
            if not program.waits:
                self._add(program)

    def _tell_port(self, port: int) -> None:
        if self.shape.port not in (0, port):
            self.say(f"Port {self.shape.port} is taken; serving on {port} instead.")
        self._lock.sign(f"process {os.getpid()}, {self.url}")

    def _migrate_in_a_process(self) -> None:
        done = self.manage("migrate", "--noinput", "--verbosity", "0", check=False)
        if done.returncode != 0:
            log = self.places.logs / "migrate.log"
            log.write_text(done.stdout + done.stderr)
            raise ServerFailed("manage.py migrate", f"ended with code {done.returncode}", log)

    def _add(self, child: Child) -> None:
        self.children = {**self.children, child.name: child}  # a new one: others may be going through the old
        child.start()
        self._write_record()

    def _keep_alive(self) -> None:
        while not self._ending.wait(0.1):
            for child in self.children.values():
                self._revive(child)
            if self._late and all(child.ready() for child in self.children.values()):
                self._add(self._late[0])
                self._late.pop(0)  # not before it runs: whoever waits for everything looks here

    def _revive(self, child: Child) -> None:
        if not child.wanted or child.alive or not child.busy.acquire(blocking=False):
            return
        try:
            lived = time.monotonic() - child.started_at
            delay = delay_after(self._delays.get(child.name, 0.0), lived)
            if lived < delay:
                return  # not yet: the other children need looking after as well
            self._delays[child.name] = delay
            self.say(f"{child.name} has ended; starting it again.")
            child.start()
            self.restarts[child.name] = self.restarts.get(child.name, 0) + 1
            self._write_record()
        except (
            Exception
        ) as error:  # whatever it is: the other children still need somebody, and this one a next try
            child.wanted = True
            self.say(f"{child.name} could not be started and will be tried again: {error}")
        finally:
            child.busy.release()

    def _write_record(self) -> None:
        found = [child.identity for child in self.children.values()]
        record = {
            "supervisor": os.getpid(),
            "processes": [each.to_json() for each in found if each is not None],
        }
        draft = self.places.record.with_suffix(".draft")
        draft.write_text(json.dumps(record, indent=1))
        draft.replace(self.places.record)


def finish_predecessors(places: Places, say: Callable[[str], None]) -> None:
    """End what a supervisor left that was killed itself. Servers clear up after themselves when they start."""
    try:
        record = json.loads(places.record.read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return
    recorded = [
        Identity(**each) for each in record["processes"] if each["name"] not in ("postgres", "valkey")
    ]
    running = [process for each in recorded if (process := each.process) is not None]
    if running:
        say(f"Ending {len(running)} processes that an earlier stack left behind.")
    processes.finish(running, signal.SIGTERM, grace=5)
    for each in recorded:
        processes.finish(processes.session_of(each.pid), signal.SIGKILL, grace=1)
