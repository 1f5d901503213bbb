"""One process of the stack, with its log: started, asked whether it is ready, stopped, started again."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

from runtime.stack import processes
from runtime.stack.errors import ServerFailed
from runtime.stack.processes import Identity


class Child:
    """Leads a session of its own, so that a Ctrl-C in the terminal reaches the supervisor alone."""

    stop_signal = signal.SIGTERM
    grace = 15.0
    patience = 120.0  # how long it may take to become ready

    def __init__(self, name: str, log: Path) -> None:
        self.name = name
        self.log = log
        self.wanted = False  # whether a supervisor is to start it again when it ends
        self.started_at = 0.0
        self.busy = threading.RLock()  # held while somebody starts or stops it
        self._asked = False
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        if self._process is None:
            raise ServerFailed(self.name, "has not been started", self.log)
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def identity(self) -> Identity | None:
        """Which process it is, as long as it runs."""
        try:
            return Identity.of(self.name, self.pid) if self.alive else None
        except psutil.NoSuchProcess:
            return None  # it has ended between the two questions

    def start(self) -> None:
        """Start it; a server also waits until it serves."""
        with self.busy:
            self._start()

    def _start(self) -> None:
        raise NotImplementedError

    def ready(self) -> bool:
        raise NotImplementedError

    def wait_ready(self, timeout: float | None = None) -> None:
        """Come back when it serves; a `ServerFailed` with the end of its log when it does not."""
        came = processes.wait_until(lambda: not self.alive or self.ready(), timeout or self.patience)
        if not self.alive:
            code = self._process.returncode if self._process else None
            raise ServerFailed(self.name, f"ended with code {code} before it was ready", self.log)
        if not came:
            raise ServerFailed(self.name, "is not ready yet, and has had its time", self.log)

    def stop(self, how: signal.Signals | None = None) -> None:
        """End it in its own manner or another; kill it, and what it left behind, when that takes too long."""
        with self.busy:
            self.ask_to_stop(how)
            if self._process is not None:
                processes.reap(self._process, self.grace)
                self.clear_leftovers()

    def ask_to_stop(self, how: signal.Signals | None = None) -> None:
        """Only ask, so that several can end side by side; `stop` waits. Asked once: some take a second time ill."""
        self.wanted = False
        if self.alive and not self._asked:
            self._asked = True
            self.signal(signal.SIGCONT)  # a stopped process would hear the other signal only later
            self.signal(how or self.stop_signal)

    def restart(self, how: signal.Signals | None = None) -> None:
        """End it, by another signal if one is given, and start it again."""
        with self.busy:
            self.stop(how)
            self.start()

    def signal(self, what: signal.Signals) -> None:
        """To this process alone, never to its group: a worker's pool must not hear what its parent decides."""
        os.kill(self.pid, what)

    def kill(self) -> None:
        """kill -9. The supervisor starts it again."""
        self.signal(signal.SIGKILL)

    def pause(self) -> None:
        """SIGSTOP, as a frozen machine would."""
        self.signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.signal(signal.SIGCONT)

    def begin_log(self) -> None:
        """Keep the log of the last stack aside."""
        if self.log.exists():
            self.log.replace(self.log.with_suffix(".log.1"))

    def clear_leftovers(self) -> None:
        """Kill what this process started and did not take with it."""
        if self._process is not None:
            processes.finish(processes.session_of(self._process.pid), signal.SIGKILL, grace=1)

    def _spawn(
        self, command: list[str], environment: Mapping[str, str] | None = None, **options: Any
    ) -> None:
        with open(self.log, "ab") as log:
            self._process = subprocess.Popen(
                command,
                env=dict(environment) if environment is not None else None,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                **options,
            )
        self._asked = False
        self.started_at = time.monotonic()
        self.wanted = True
