"""Rates and concurrency of tools and models, kept in Redis: for speed, never for correctness.

A call takes its place before it is intended. One that finds none takes nothing: its step is ready again after a
while, counts no failure and holds no worker. A rate gives such a step a moment of its own, which nobody else gets; for
a place among those at once it stands in a line, and once it is due nobody who comes later gets a place before it. A
holder that dies gives its place back when its call's time is over. While Redis is away everything is let through.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import structlog

import tools
from runtime import grants, leases
from runtime.conf import settings
from runtime.exceptions import InputInvalid, LeaseUnavailable
from tools.rates import Limit

logger = structlog.get_logger(__name__)

PREFIX = "aetheris:limit:"
GRACE_SECONDS = 5.0
"""How long a place is kept for somebody who is due and does not come, and over a call's own time."""
LONGEST_PAUSE_SECONDS = 30.0

# KEYS: log (calls begun or promised, by moment), turns (who was promised a moment), slots (who is calling, by
# expiry), line (who waits, by when it is due). ARGV: who, calls in a window, window, calls at once, hold, grace,
# longest pause. Microseconds by the clock of Redis. Answers the microseconds to wait, 0 for: go.
ENTER = """
local t = redis.call('TIME')
local now = tonumber(t[1]) * 1000000 + tonumber(t[2])
local me, count, window, most = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local hold, grace, longest = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local function int(n) return string.format('%.0f', n) end
if most > 0 then
  redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', int(now))
  redis.call('ZREMRANGEBYSCORE', KEYS[4], '-inf', int(now - grace))
  local due = redis.call('ZSCORE', KEYS[4], me)
  local ahead = redis.call('ZCOUNT', KEYS[4], '-inf', int(now))
  if due and tonumber(due) <= now then ahead = redis.call('ZRANK', KEYS[4], me) end
  if not redis.call('ZSCORE', KEYS[3], me) and most - redis.call('ZCARD', KEYS[3]) <= ahead then
    local pause = 1000000
    if not due then pause = math.min(longest, 1000000 * (1 + math.floor(redis.call('ZCARD', KEYS[4]) / most))) end
    redis.call('ZADD', KEYS[4], int(now + pause), me)
    redis.call('PEXPIRE', KEYS[4], 600000)
    return int(pause)
  end
end
if count > 0 then
  local promised = redis.call('ZSCORE', KEYS[2], me)
  if promised and tonumber(promised) > now then return int(tonumber(promised) - now) end
  if not promised then
    redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', int(now - window))
    redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', int(now - window - grace))
    local before = redis.call('ZRANGE', KEYS[1], -count, -count, 'WITHSCORES')
    local moment = now
    if before[2] then moment = math.max(now, tonumber(before[2]) + window) end
    redis.call('ZADD', KEYS[1], int(moment), me .. '@' .. int(moment))
    local life = int(math.ceil((moment - now + window + grace) / 1000) + 1000)
    redis.call('PEXPIRE', KEYS[1], life)
    if moment > now then
      redis.call('ZADD', KEYS[2], int(moment), me)
      redis.call('PEXPIRE', KEYS[2], life)
      return int(moment - now)
    end
  end
  redis.call('ZREM', KEYS[2], me)
end
if most > 0 then
  redis.call('ZREM', KEYS[4], me)
  redis.call('ZADD', KEYS[3], int(now + hold), me)
  redis.call('PEXPIRE', KEYS[3], int(math.ceil(hold / 1000) + 1000))
end
return '0'
"""
LEAVE = "return redis.call('ZREM', KEYS[1], ARGV[1])"
USAGE = """
local t = redis.call('TIME')
local now = tonumber(t[1]) * 1000000 + tonumber(t[2])
local function int(n) return string.format('%.0f', n) end
return {
  redis.call('ZCOUNT', KEYS[3], int(now), '+inf'),
  redis.call('ZCOUNT', KEYS[4], int(now - tonumber(ARGV[2])), '+inf') + redis.call('ZCOUNT', KEYS[2], int(now), '+inf'),
  redis.call('ZCOUNT', KEYS[1], int(now - tonumber(ARGV[1])), int(now))
}
"""


@dataclass(frozen=True)
class Place:
    """What somebody is limited by: one tool, or the models that one rule of `MODEL_LIMITS` names."""

    kind: str
    name: str
    limit: Limit
    hold: float
    """Seconds after which a place counts as given back."""

    @property
    def keys(self) -> list[str]:
        return [f"{PREFIX}{self.kind}:{self.name}:{part}" for part in ("log", "turns", "slots", "line")]


def of_tool(tool: tools.Tool) -> Place | None:
    policy = tool.policy
    return Place("tool", tool.name, policy.limit, policy.timeout + GRACE_SECONDS) if policy.limit else None


def of_model(model: str) -> Place | None:
    rules = settings().model_limits
    if not rules or (pattern := grants.nearest(rules, model)) is None:
        return None
    try:
        limit = Limit(**rules[pattern])
    except (TypeError, ValueError) as error:
        raise InputInvalid(f"MODEL_LIMITS, {pattern!r}", str(error)) from error
    return Place("llm", pattern, limit, settings().model_timeout_seconds + GRACE_SECONDS)


def enter(place: Place, who: str) -> float:
    """Take a place: 0 when there was one, else the seconds after which to come again."""
    limit = place.limit
    amounts = (limit.count, limit.seconds * 1e6, limit.concurrency, place.hold * 1e6)
    numbers = [*amounts, GRACE_SECONDS * 1e6, LONGEST_PAUSE_SECONDS * 1e6]
    try:
        answer = leases.evaluate(ENTER, place.keys, [who, *(str(int(number)) for number in numbers)])
    except LeaseUnavailable as error:
        logger.warning("limit_not_kept", callee=place.name, error=str(error))
        return 0.0
    return int(answer) / 1e6


def leave(place: Place, who: str) -> None:
    """Give a place back. Nobody waits for it, so an error is left to its expiry."""
    if not place.limit.concurrency:
        return
    try:
        leases.evaluate(LEAVE, [place.keys[2]], [who])
    except LeaseUnavailable as error:
        logger.debug("place_not_left", callee=place.name, error=str(error))


def usage() -> list[dict[str, Any]]:
    """Every limit, with how many call, wait, and have begun in the window. Raises `LeaseUnavailable`."""
    found = []
    for place in _all():
        window, grace = int(place.limit.seconds * 1e6), int(GRACE_SECONDS * 1e6)
        calling, waiting, begun = leases.evaluate(USAGE, place.keys, [str(window), str(grace)])
        about: dict[str, Any] = {"kind": place.kind, "name": place.name}
        bounds = {"rate": place.limit.rate, "concurrency": place.limit.concurrency}
        found.append({**about, **bounds, "calling": calling, "waiting": waiting, "begun": begun})
    return found


def _all() -> Iterator[Place]:
    for _, tool in sorted(tools.registered().items()):
        if place := of_tool(tool):
            yield place
    for pattern in sorted(settings().model_limits or ()):
        if place := of_model(pattern):
            yield place
