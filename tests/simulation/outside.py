"""The outside in a simulation: what was asked of it, what it did, and how its answers get lost.

It is the oracle: it does not know the ledger, and remembers every request by the key that came with it.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from tests.simulation.scheduler import Scheduler, acting
from tools import (
    Absent,
    CannotTell,
    Compensation,
    Failed,
    Happened,
    News,
    NotSent,
    Pending,
    ToolContext,
    Verdict,
    tool,
)

CALLS = ["charge", "pay", "transfer", "wire", "payout", "reserve", "release"]
"""The tools; the last one only undoes."""
SEND_SECONDS = 8.0
"""How long a call of these tools may take to be sent."""


@dataclass
class Order:
    """What the outside took and works on."""

    key: str
    id: str
    done_at: float
    ended: Happened | Failed

    def news(self, now: float) -> News:
        return self.ended if now >= self.done_at else Pending(self.id, poll_after=timedelta(seconds=3))


@dataclass
class Outside:
    scheduler: Scheduler
    chance: random.Random
    trouble: float = 0.0
    """How likely it is that a request goes wrong."""
    requests: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    """How many requests with this key did something, or would have if the key had not been known."""
    effects: dict[str, list[Any]] = field(default_factory=lambda: defaultdict(list))
    """What was done under a key, and answered."""
    orders: dict[str, Order] = field(default_factory=dict)
    closed: set[str] = field(default_factory=set)
    """Keys that it was told never to act upon."""
    faults: Counter[str] = field(default_factory=Counter)

    def act(self, name: str, context: ToolContext, answer: Any, *, keeps_keys: bool = False) -> Any:
        """A request. It may be lost on its way there, and its answer on the way back."""
        self._place(f"{name}: on its way")
        if self._happens("refused"):
            raise NotSent("busy", retry_after=timedelta(seconds=1))
        if context.remaining_seconds <= 0:
            raise NotSent("too late to send")
        key = context.idempotency_key
        if key in self.closed:
            raise NotSent("this key is closed")
        self.requests[key] += 1
        if not (keeps_keys and key in self.effects):
            self.effects[key].append(answer)
        self._place(f"{name}: on its way back")
        if self._happens("answer lost"):
            raise TimeoutError("silence")
        return answer

    def order(self, name: str, context: ToolContext) -> Any:
        """A request for something that takes its time."""
        key = context.idempotency_key
        reference = f"po-{key[:8]}"
        ended: Happened | Failed = Happened({"paid": 1})
        if self.chance.random() < 0.2:
            ended = Failed("no such account", retry=self.chance.random() < 0.5)
        order = Order(key, reference, self.scheduler.now + self.chance.uniform(0, 10), ended)
        taken = Pending(reference, poll_after=timedelta(seconds=3), timeout=timedelta(minutes=5))
        self._place(f"{name}: on its way")
        if self._happens("refused"):
            raise NotSent("busy", retry_after=timedelta(seconds=1))
        if context.remaining_seconds <= 0:
            raise NotSent("too late to send")
        self.requests[key] += 1
        self.effects[key].append(order.ended)
        self.orders[key] = order
        self._place(f"{name}: on its way back")
        if self._happens("answer lost"):
            raise TimeoutError("silence")
        return taken

    def verdict(self, key: str) -> Verdict:
        self._place("verify")
        if self._happens("question lost"):
            return CannotTell()
        if order := self.orders.get(key):
            return order.news(self.scheduler.now)
        return Happened(self.effects[key][0]) if key in self.effects else Absent()

    def closing_verdict(self, key: str) -> Verdict:
        """The same, of one that acts upon no key that it has said to be absent."""
        verdict = self.verdict(key)
        if isinstance(verdict, Absent):
            self.closed.add(key)
            return Absent(fencing=True)
        return verdict

    def poll(self, key: str) -> News:
        self._place("poll")
        if self._happens("question lost"):
            raise TimeoutError("silence")
        return self.orders[key].news(self.scheduler.now)

    def _place(self, name: str) -> None:
        if actor := acting():
            actor.at(name)

    def _happens(self, fault: str) -> bool:
        happens = self.chance.random() < self.trouble
        self.faults[fault] += happens
        return happens


class Now:
    """The outside of the seed that is under way."""

    outside: Outside


def _verify(key: str, arguments: dict[str, Any]) -> Verdict:
    return Now.outside.verdict(key)


def _verify_and_close(key: str, arguments: dict[str, Any]) -> Verdict:
    return Now.outside.closing_verdict(key)


def _poll(external_id: str, key: str, arguments: dict[str, Any]) -> News:
    return Now.outside.poll(key)


@tool(name="simulated.charge", timeout=SEND_SECONDS)
def charge(context: ToolContext, amount: float = 1.0) -> Any:
    """Declares nothing."""
    return Now.outside.act("charge", context, {"charged": amount})


@tool(name="simulated.pay", idempotent=True, timeout=SEND_SECONDS)
def pay(context: ToolContext, amount: float = 1.0) -> Any:
    """The outside keeps the key."""
    return Now.outside.act("pay", context, {"paid": amount}, keeps_keys=True)


@tool(name="simulated.transfer", verify=_verify, timeout=SEND_SECONDS)
def transfer(context: ToolContext, amount: float = 1.0) -> Any:
    """The outside can be asked."""
    return Now.outside.act("transfer", context, {"transferred": amount})


@tool(name="simulated.wire", verify=_verify_and_close, timeout=SEND_SECONDS)
def wire(context: ToolContext, amount: float = 1.0) -> Any:
    """The outside can be asked, and then refuses what it did not know."""
    return Now.outside.act("wire", context, {"wired": amount})


@tool(name="simulated.payout", verify=_verify, poll=_poll, webhook="bank", timeout=SEND_SECONDS)
def payout(context: ToolContext, amount: float = 1.0) -> Any:
    """The outside takes it, and tells later how it ended."""
    return Now.outside.order("payout", context)


@tool(name="simulated.release", timeout=SEND_SECONDS)
def release(context: ToolContext, what: str) -> Any:
    """Undoes a reservation."""
    return Now.outside.act("release", context, {"released": what})


@tool(
    name="simulated.reserve",
    timeout=SEND_SECONDS,
    compensate=Compensation("simulated.release", {"what": "${result.reserved}"}),
)
def reserve(context: ToolContext, what: str) -> Any:
    """Can be undone."""
    return Now.outside.act("reserve", context, {"reserved": what})
