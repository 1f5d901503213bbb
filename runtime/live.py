"""Text of model calls while it is being written, for whoever watches. Redis holds it, and may lose it.

One Redis stream for each job, bounded in length and in time. Each piece names the attempt and call that it is of,
and where in that call's text it stands, so a reader never mixes two attempts and sees where something was lost.
Nothing waits for a piece and nothing fails with it: while Redis is away pieces are dropped and counted.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar
from uuid import UUID

import structlog
from redis import Redis
from redis.exceptions import RedisError

from runtime import leases
from runtime.breaker import Breaker
from runtime.conf import settings

logger = structlog.get_logger(__name__)

PREFIX = "aetheris:live:"
FLUSH_SECONDS = 0.1
FLUSH_CHARACTERS = 2000
PUBLISH_SECONDS = 0.25
"""The longest that a writer waits for Redis; after it the breaker keeps the next ones from waiting."""
MOST_READ = 500
BEGINNING = "0-0"

breaker = Breaker()


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of the text of one call. `offset` counts the characters of that text before it."""

    id: str
    step: str
    attempt: int
    call: str
    offset: int
    text: str


class Telling:
    """The text of one call on its way to those who watch."""

    lost_in_process: ClassVar[int] = 0
    """Metric: characters that this process could not hand over since it started."""

    def __init__(self, job_id: UUID, step: str, attempt: int, call: str) -> None:
        self.lost = 0
        self._job_id = job_id
        self._names = {"step": step, "attempt": str(attempt), "call": call}
        self._held: list[str] = []
        self._size = 0
        self._offset = 0
        self._flushed_at = 0.0

    def tell(self, text: str) -> None:
        """Hand over a piece, soon. Never raises."""
        self._held.append(text)
        self._size += len(text)
        if self._size >= FLUSH_CHARACTERS or time.monotonic() - self._flushed_at >= FLUSH_SECONDS:
            self._flush()

    def close(self) -> None:
        if self._held:
            self._flush()
        if self.lost:
            logger.warning("live_text_lost", job=str(self._job_id), **self._names, characters=self.lost)

    def _flush(self) -> None:
        text = "".join(self._held)
        if not _publish(self._job_id, {**self._names, "offset": str(self._offset), "text": text}):
            self.lost += len(text)
            Telling.lost_in_process += len(text)
        self._offset += len(text)
        self._held, self._size, self._flushed_at = [], 0, time.monotonic()


def pieces(job_id: UUID, after: str, *, wait: float) -> list[Piece]:
    """What follows piece `after`, waiting up to `wait` seconds (0: not at all) for it; nothing while Redis is away."""
    try:
        block = max(1, int(wait * 1000)) if wait else None
        answer: Any = _reader().xread({_key(job_id): after}, count=MOST_READ, block=block)
    except (RedisError, OSError) as error:
        logger.debug("live_text_not_read", job=str(job_id), error=str(error))
        time.sleep(wait)
        return []
    return [_piece(id, fields) for _, found in answer for id, fields in found]


def _publish(job_id: UUID, fields: Mapping[str, str]) -> bool:
    if breaker.is_open:
        return False
    try:
        pipeline = _writer().pipeline(transaction=False)
        encoded: Any = {name: value.encode("utf-8", "replace") for name, value in fields.items()}
        pipeline.xadd(_key(job_id), encoded, maxlen=settings().live_entries, approximate=True)
        pipeline.pexpire(_key(job_id), int(settings().live_seconds * 1000))
        pipeline.execute()
    except (RedisError, OSError) as error:
        breaker.trip()
        logger.debug("live_text_not_published", job=str(job_id), error=str(error))
        return False
    return True


def _piece(id: bytes, fields: Mapping[bytes, bytes]) -> Piece:
    told = {name.decode(): value.decode("utf-8", "replace") for name, value in fields.items()}
    numbers = {name: int(told.pop(name)) for name in ("attempt", "offset")}
    return Piece(id=id.decode(), **told, **numbers)  # type: ignore[arg-type]


def _key(job_id: UUID) -> str:
    return f"{PREFIX}{job_id}"


@cache
def _writer() -> Redis:
    return leases.connect(PUBLISH_SECONDS)


@cache
def _reader() -> Redis:
    return leases.connect(settings().redis_timeout_seconds + 1)
