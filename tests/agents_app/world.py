"""The outside, as the tests see it: what was done there, and how it behaves next. Lives in this process only."""

import threading
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from tools import CannotTell, News, Pending, Verdict


@dataclass(frozen=True)
class Call:
    """One request that reached the outside."""

    tool: str
    key: str
    attempt: int
    arguments: dict[str, Any]


Behaviour = Callable[[], Any] | BaseException
"""Something to do instead of answering: an exception to raise, or a function whose value is the answer."""


@dataclass
class World:
    calls: list[Call] = field(default_factory=list)
    before: defaultdict[str, deque[Behaviour]] = field(default_factory=lambda: defaultdict(deque))
    """What the next calls of a tool meet before the outside changed."""
    after: defaultdict[str, deque[Behaviour]] = field(default_factory=lambda: defaultdict(deque))
    """What they meet after it changed, instead of the answer."""
    verdicts: deque[Verdict | BaseException | Callable[[], Verdict]] = field(default_factory=deque)
    """What the next questions of `verify` are answered with; afterwards nobody can tell."""
    asked: list[str] = field(default_factory=list)
    """The keys that `verify` was asked about."""
    polls: deque[News | BaseException | Callable[[], News]] = field(default_factory=deque)
    """What the next questions of `poll` are answered with; afterwards it is still being worked on."""
    polled: list[str] = field(default_factory=list)
    """The external ids that `poll` was asked about."""
    tokens: list[str] = field(default_factory=list)
    """Callback tokens that were handed out."""
    requests: list[Any] = field(default_factory=list)
    """What the model was asked."""
    contents: deque[str] = field(default_factory=deque)
    """What it answers next; afterwards it says "yes"."""
    during_answer: deque[Callable[[], Any]] = field(default_factory=deque)
    """What happens while it thinks."""
    doings: dict[str, Callable[..., Any]] = field(default_factory=dict)
    """What the step function `do` runs, by name."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def reset(self) -> None:
        self.__init__()  # type: ignore[misc]

    def called(self, tool: str, context: Any, arguments: dict[str, Any], answer: Any) -> Any:
        if (behaviour := self._next(self.before[tool])) is not None:
            return _behave(behaviour)
        with self.lock:
            self.calls.append(Call(tool, context.idempotency_key, context.attempt, arguments))
        if (behaviour := self._next(self.after[tool])) is not None:
            return _behave(behaviour)
        return answer

    def verify(self, key: str, arguments: dict[str, Any]) -> Verdict:
        with self.lock:
            self.asked.append(key)
            verdict = self.verdicts.popleft() if self.verdicts else CannotTell()
        if isinstance(verdict, BaseException):
            raise verdict
        return verdict() if callable(verdict) else verdict

    def poll(self, external_id: str, key: str, arguments: dict[str, Any]) -> News:
        with self.lock:
            self.polled.append(external_id)
            news = self.polls.popleft() if self.polls else Pending(poll_after=timedelta(minutes=10))
        if isinstance(news, BaseException):
            raise news
        return news() if callable(news) else news

    def effects(self, tool: str | None = None) -> list[Call]:
        """The requests that changed the outside."""
        return [call for call in self.calls if tool in (None, call.tool)]

    def _next(self, behaviours: deque[Behaviour]) -> Behaviour | None:
        with self.lock:
            return behaviours.popleft() if behaviours else None


def complete(request: Any, *, timeout: float) -> dict[str, Any]:
    """The model: `AETHERIS["MODEL_CLIENT"]` names this function where a test asks one."""
    with world.lock:
        world.requests.append(request)
        content = world.contents.popleft() if world.contents else "yes"
        meanwhile = world.during_answer.popleft() if world.during_answer else None
    if meanwhile is not None:
        meanwhile()
    return {"content": content, "model": request["model"], "usage": {"input_tokens": 3, "output_tokens": 1}}


def _behave(behaviour: Behaviour) -> Any:
    if isinstance(behaviour, BaseException):
        raise behaviour
    return behaviour()


world = World()
