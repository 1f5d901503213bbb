"""A file that steps append a line to: moment (monotonic ns), process, job, step. Some microseconds each."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from time import monotonic_ns

from benchmarks.orders import variable


@dataclass(frozen=True)
class Line:
    at: int
    pid: int
    job: str
    step: int


def note(job: str, step: int) -> int:
    """Called by every step of every system; the number of the next step."""
    at = monotonic_ns()  # aetheris: allow[clock] part of no result
    pid = os.getpid()  # aetheris: allow[environment] part of no result
    os.write(_file(), f"{at} {pid} {job} {step}\n".encode())
    return step + 1


@cache
def _file() -> int:
    return os.open(variable("WITNESS"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)


class Witness:
    """The reader of such a file; every line is given once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read = 0
        path.write_bytes(b"")

    def new(self) -> Iterator[Line]:
        with open(self.path, "rb") as file:
            file.seek(self._read)
            text = file.read()
        whole = text[: text.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.decode().splitlines():
            at, pid, job, step = line.split(" ")
            yield Line(int(at), int(pid), job, int(step))
