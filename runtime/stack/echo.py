"""The logs of all processes on one terminal, each line with the name of its process.

Processes write into files and not into a pipe: a terminal that stands still stops nobody, and neither does the
death of whoever reads.
"""

import threading
from collections.abc import Callable, Iterable
from pathlib import Path


class Echo:
    """Follows log files until it is closed."""

    def __init__(self, logs: Iterable[tuple[str, Path]], say: Callable[[str], None]) -> None:
        self._logs = [(name, log, log.stat().st_size if log.exists() else 0) for name, log in logs]
        self._width = max((len(name) for name, _, _ in self._logs), default=0)
        self._say = say
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="echo", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Show what is left, and end."""
        self._closing.set()
        self._thread.join()

    def _follow(self) -> None:
        while not self._closing.wait(0.2):
            self._show_new_lines()
        self._show_new_lines()

    def _show_new_lines(self) -> None:
        self._logs = [(name, log, self._shown(name, log, offset)) for name, log, offset in self._logs]

    def _shown(self, name: str, log: Path, offset: int) -> int:
        """Show the whole lines after the offset; how far that was."""
        try:
            with open(log, "rb") as file:
                file.seek(offset)
                new = file.read()
        except FileNotFoundError:
            return offset
        whole = new[: new.rfind(b"\n") + 1]
        for line in whole.decode(errors="replace").splitlines():
            self._say(f"{name:<{self._width}} | {line}")
        return offset + len(whole)
