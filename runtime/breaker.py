"""What keeps a server that is away from costing a timeout each time that it is asked."""

import threading
import time

from runtime.conf import settings


class Breaker:
    """Open after an error: nothing is asked for a while, so that a dead broker costs one timeout, not one per call."""

    def __init__(self) -> None:
        self._until = 0.0
        self._lock = threading.Lock()
        self.failures = 0

    @property
    def is_open(self) -> bool:
        return time.monotonic() < self._until

    def trip(self) -> None:
        with self._lock:
            self.failures += 1
            self._until = time.monotonic() + settings().redis_breaker_seconds

    def reset(self) -> None:
        self._until = 0.0
