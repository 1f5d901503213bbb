"""Leases: Redis locks that show which steps a living worker runs. They save work, never data.

The fence (`step.attempt`) guards every write, so a lease may vanish at any moment. `redis` is spoken here
and in `runtime.live`, `runtime.news`: the depth of the hint queues comes from here too.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any, TypeVar
from uuid import UUID

import structlog
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from runtime.breaker import Breaker
from runtime.conf import settings
from runtime.exceptions import LeaseUnavailable

logger = structlog.get_logger(__name__)

T = TypeVar("T")

PREFIX = "aetheris:lease:"

# KEYS[1] the lease, ARGV[1] owner, ARGV[2] attempt, ARGV[3] milliseconds. Granted where it is free, mine, or
# of a lower attempt: the claim in the database has decided already.
GRANT = """
local held = redis.call('GET', KEYS[1])
if held then
  local owner, attempt = string.match(held, '^(.*):(%d+)$')
  if owner ~= ARGV[1] and tonumber(attempt) >= tonumber(ARGV[2]) then return 0 end
end
redis.call('SET', KEYS[1], ARGV[1] .. ':' .. ARGV[2], 'PX', ARGV[3])
return 1
"""
# Released by its owner only.
RELEASE = """
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""

breaker = Breaker()


@cache
def client() -> Redis:
    return connect(settings().redis_timeout_seconds)


def connect(seconds: float) -> Redis:
    """A client that waits so long for an answer, and does not ask again."""
    return Redis.from_url(
        _address(settings().redis_url),
        socket_timeout=seconds,
        socket_connect_timeout=seconds,
        retry=Retry(NoBackoff(), 0),
        protocol=2,  # one form of answers, whatever the server is
    )


def _address(url: str) -> str:
    return url.replace("redis+socket://", "unix://", 1)


def _ask(question: Callable[[Redis], T]) -> T:
    if breaker.is_open:
        raise LeaseUnavailable("Redis did not answer a moment ago")
    try:
        return question(client())
    except (RedisError, OSError) as error:
        breaker.trip()
        raise LeaseUnavailable(f"Redis cannot be asked: {error}") from error


def extend(incarnation: UUID, held: Iterable[tuple[int, int]]) -> None:
    """Grant or extend the leases of (step id, attempt) pairs in one round trip. Raises `LeaseUnavailable`."""
    milliseconds = int(settings().lease_seconds * 1000)

    def question(redis: Redis) -> None:
        pipeline = redis.pipeline(transaction=False)
        for step_id, attempt in held:
            pipeline.eval(GRANT, 1, f"{PREFIX}{step_id}", str(incarnation), str(attempt), str(milliseconds))
        pipeline.execute()

    if not settings().always_grant_leases:
        _ask(question)


def release(incarnation: UUID, step_id: int, attempt: int) -> None:
    """Give a lease back. Nobody waits for it, so an error is left to its expiry."""
    try:
        _ask(lambda redis: redis.eval(RELEASE, 1, f"{PREFIX}{step_id}", f"{incarnation}:{attempt}"))
    except LeaseUnavailable as error:
        logger.debug("lease_not_released", step=step_id, error=str(error))


def missing(step_ids: Sequence[int]) -> set[int]:
    """Which of the steps have no lease. When Redis cannot be asked, all of them."""
    if settings().always_grant_leases or not step_ids:
        return set(step_ids)
    try:
        values = _ask(lambda redis: redis.mget([f"{PREFIX}{step_id}" for step_id in step_ids]))
    except LeaseUnavailable:
        return set(step_ids)
    return {step_id for step_id, value in zip(step_ids, values, strict=True) if value is None}


def evaluate(script: str, keys: list[str], arguments: list[str]) -> Any:
    """What a Lua script answers. Raises `LeaseUnavailable`."""
    return _ask(lambda redis: redis.eval(script, len(keys), *keys, *arguments))


def count() -> int:
    """How many leases there are. Raises `LeaseUnavailable`."""
    return _ask(lambda redis: sum(1 for _ in redis.scan_iter(f"{PREFIX}*", count=1000)))


def queue_depths(queues: Iterable[str], prefix: str = "aetheris:") -> dict[str, int]:
    """Messages waiting in the broker, by queue. Raises `LeaseUnavailable`."""
    names = list(queues)

    def question(redis: Redis) -> list[int]:
        pipeline = redis.pipeline(transaction=False)
        for name in names:
            pipeline.llen(f"{prefix}{name}")
        return pipeline.execute()

    return dict(zip(names, _ask(question), strict=True))
