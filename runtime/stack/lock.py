"""One holder per instance. The system takes the lock back when its holder dies, however it dies."""

import fcntl
import os
from typing import IO

from runtime.stack.errors import AlreadyRunning
from runtime.stack.places import Places


class InstanceLock:
    """The right to start and stop the processes of one instance."""

    def __init__(self, places: Places) -> None:
        self.places = places
        self._file: IO[str] | None = None

    def take(self) -> None:
        """Take it, or say who has it."""
        file = open(self.places.lock, "a+")  # noqa: SIM115 - open as long as the lock is held
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip()
            file.close()
            raise AlreadyRunning(self.places.local, holder) from None
        self._file = file
        self.sign(f"process {os.getpid()}")

    def sign(self, holder: str) -> None:
        """Leave word, for whoever comes and finds it taken."""
        if self._file is not None:
            self._file.seek(0)
            self._file.truncate()
            self._file.write(holder)
            self._file.flush()

    def release(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
