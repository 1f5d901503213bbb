"""The news that a job has ended, through Redis, for those who wait for it. News may be lost: the rows say it surely."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager
from functools import cache
from uuid import UUID

import structlog
from redis import Redis
from redis.client import PubSub
from redis.exceptions import RedisError

from runtime import committed, leases
from runtime.breaker import Breaker
from runtime.conf import settings

logger = structlog.get_logger(__name__)

PREFIX = "aetheris:ended:"
TELL_SECONDS = 0.25
"""The longest that a worker waits for Redis to say that a job has ended."""

breaker = Breaker()


def tell_after_commit(job_id: str) -> None:
    committed.then(lambda: tell(job_id))


def tell(job_id: str) -> None:
    """Say that the job has ended. Never raises: whoever misses it looks at the row in a while."""
    if breaker.is_open:
        return
    try:
        teller().publish(f"{PREFIX}{job_id}", b"")
    except (RedisError, OSError) as error:
        breaker.trip()
        logger.debug("end_not_told", job=job_id, error=str(error))


@contextmanager
def listening(job_ids: Collection[UUID]) -> Iterator[Listener]:
    with leases.connect(settings().redis_timeout_seconds) as redis:
        channels = redis.pubsub(ignore_subscribe_messages=True)
        with closing(channels):
            listener = Listener(channels)
            listener.subscribe(job_ids)
            yield listener


class Listener:
    """News of some jobs. While Redis is away there is none, and the time passes."""

    def __init__(self, channels: PubSub) -> None:
        self._channels = channels
        self._deaf = False

    def subscribe(self, job_ids: Collection[UUID]) -> None:
        with self._hearing():
            self._channels.subscribe(*(f"{PREFIX}{job_id}" for job_id in job_ids))

    def heard(self, seconds: float) -> set[UUID]:
        """Jobs that are said to have ended: the first within `seconds`, and what is there with it."""
        ended: set[UUID] = set()
        until = time.monotonic() + seconds
        with self._hearing():
            while (left := until - time.monotonic()) > 0 and not self._deaf:
                message = self._channels.get_message(timeout=0 if ended else left)
                if message is not None:
                    ended.add(UUID(message["channel"].decode().removeprefix(PREFIX)))
                elif ended:
                    break
        if not ended:
            time.sleep(max(0.0, until - time.monotonic()))
        return ended

    @contextmanager
    def _hearing(self) -> Iterator[None]:
        try:
            yield
        except (RedisError, OSError) as error:
            self._deaf = True
            logger.debug("ends_not_heard", error=str(error))


@cache
def teller() -> Redis:
    return leases.connect(TELL_SECONDS)
