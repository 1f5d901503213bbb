"""Processes by pid and start time: a pid alone may belong to somebody else by now."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil


@dataclass(frozen=True)
class Identity:
    """One process of this machine, beyond doubt."""

    name: str
    pid: int
    started: float

    @classmethod
    def of(cls, name: str, pid: int) -> "Identity":
        return cls(name, pid, psutil.Process(pid).create_time())

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def process(self) -> psutil.Process | None:
        """The process, as long as it is the same one and runs."""
        try:
            process = psutil.Process(self.pid)
            same = (
                abs(process.create_time() - self.started) < 0.1 and process.status() != psutil.STATUS_ZOMBIE
            )
            return process if same else None
        except psutil.NoSuchProcess:
            return None


def finish(processes: Iterable[psutil.Process], how: signal.Signals, grace: float) -> None:
    """Ask processes to end, wait, and kill what is left."""
    asked = list(processes)
    for process in asked:
        _signal(process, how)
    _, left = psutil.wait_procs(asked, timeout=grace)
    for process in left:
        _signal(process, signal.SIGKILL)
    psutil.wait_procs(left, timeout=5)


def session_of(leader: int) -> list[psutil.Process]:
    """What a process that led a session has left behind (a pool's children, say).

    While they live, the system gives the leader's number to nobody else: a live leader means that none are left.
    """
    if _lives(leader):
        return []
    return [process for process in psutil.process_iter() if _session(process.pid) == leader]


def servers_in(directory: Path, *names: str) -> list[psutil.Process]:
    """The servers that work in this directory, as PostgreSQL's processes do in its data; never somebody's shell."""
    home = os.path.realpath(directory)
    return [each for each in psutil.process_iter() if _is_called(each, names) and _works_in(each, home)]


def wait_until(met: Callable[[], bool], timeout: float, pause: float = 0.02) -> bool:
    """Whether the condition was met in time."""
    end = time.monotonic() + timeout
    while not met():
        if time.monotonic() > end:
            return False
        time.sleep(pause)
    return True


def reap(child: subprocess.Popen[bytes], grace: float) -> None:
    """Wait for a child of our own to end; kill it when it takes too long."""
    try:
        child.wait(grace)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _signal(process: psutil.Process, how: signal.Signals) -> None:
    try:
        process.resume()
        process.send_signal(how)
    except psutil.NoSuchProcess:
        pass  # it ended by itself


def _lives(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except OSError:
        return None  # it has ended, or is none of ours


def _is_called(process: psutil.Process, names: tuple[str, ...]) -> bool:
    try:
        return process.name().startswith(names)
    except psutil.Error:
        return False  # it has ended, or belongs to somebody else


def _works_in(process: psutil.Process, directory: str) -> bool:
    try:
        return process.cwd() == directory and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False  # it has ended, or belongs to somebody else
