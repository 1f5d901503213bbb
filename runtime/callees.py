"""What a call goes to: a registered tool, or a model behind the client that the settings name."""

from __future__ import annotations

import inspect
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal
from uuid import UUID

from django.core import signing
from django.utils.module_loading import import_string

import tools
from runtime import chain, limits, live
from runtime.conf import settings
from runtime.exceptions import ToolNotFound
from runtime.turn import part
from runtime.usage import provenance, usage_of
from tools import CannotTell, News, NotSent, Policy
from tools.answers import Verdict

if TYPE_CHECKING:
    from runtime.context import Context
    from runtime.models import Step


class Callee(ABC):
    """The other end of a call, and the words in which its events speak of it."""

    kind: ClassVar[str]
    called_event: ClassVar[str]
    returned_event: ClassVar[str]
    arguments_part: ClassVar[str]
    result_part: ClassVar[str]

    @property
    @abstractmethod
    def name(self) -> str: ...

    @property
    @abstractmethod
    def policy(self) -> Policy: ...

    @abstractmethod
    def send(self, context: Context, key: UUID, arguments: Any, deadline: float) -> Any:
        """Make the call, and have it over by the monotonic `deadline`. What it returns is JSON."""

    @property
    def has_verify(self) -> bool:
        return False

    def verdict(self, key: UUID, arguments: Any) -> Verdict:
        """What the outside says of a call whose outcome was lost."""
        return CannotTell()

    @property
    def provider(self) -> str:
        """Whose webhooks may settle the call."""
        return ""

    @property
    def has_poll(self) -> bool:
        return False

    def poll(self, external_id: str, key: UUID, arguments: Any) -> News:
        """How far the outside is with a call that it accepted."""
        raise NotImplementedError

    @property
    def place(self) -> limits.Place | None:
        """What bounds how often, and how many at once, it is called; None where nothing does."""
        return None

    def usage(self, result: Any) -> dict[str, Any] | None:
        """What the answer says of itself, as facts that a header can hold."""
        return None

    def provenance(self, arguments: Any, usage: dict[str, Any] | None) -> list[chain.Part]:
        """Payload parts, beside the result, of the event that records the answer."""
        return []

    @property
    def compensation(self) -> Mapping[str, Any] | None:
        """What undoes such a call: a tool and the templates of its inputs. Recorded with the intent."""
        return None


@dataclass(frozen=True)
class ToolCallee(Callee):
    tool: tools.Tool
    compensate: Mapping[str, Any] | Literal[False] | None = None
    """What the node says; None leaves it to the tool."""

    kind = "tool"
    called_event = "tool_called"
    returned_event = "tool_returned"
    arguments_part = "tool.arguments"
    result_part = "tool.result"

    @property
    def name(self) -> str:
        return self.tool.name

    @property
    def policy(self) -> Policy:
        return self.tool.policy

    def send(self, context: Context, key: UUID, arguments: Any, deadline: float) -> Any:
        return self.tool.call(CallContext(context, str(key), deadline), arguments)

    @property
    def place(self) -> limits.Place | None:
        return limits.of_tool(self.tool)

    @property
    def has_verify(self) -> bool:
        return self.tool.verify is not None

    def verdict(self, key: UUID, arguments: Any) -> Verdict:
        return self.tool.verify(str(key), arguments) if self.tool.verify else CannotTell()

    @property
    def compensation(self) -> Mapping[str, Any] | None:
        if self.compensate is not None:
            return self.compensate or None
        return self.tool.compensate.as_json() if self.tool.compensate else None

    @property
    def provider(self) -> str:
        return self.tool.webhook

    @property
    def has_poll(self) -> bool:
        return self.tool.poll is not None

    def poll(self, external_id: str, key: UUID, arguments: Any) -> News:
        assert self.tool.poll is not None
        return self.tool.poll(external_id, str(key), arguments)


@dataclass(frozen=True)
class ModelCallee(Callee):
    """A model call: safe to repeat, never repeated once recorded."""

    model: str
    call: str = ""

    kind = "llm"
    called_event = "model_called"
    returned_event = "model_returned"
    arguments_part = "llm.messages"
    result_part = "output"

    @property
    def name(self) -> str:
        return self.model

    @property
    def policy(self) -> Policy:
        return Policy(read_only=True, timeout=settings().model_timeout_seconds)

    def send(self, context: Context, key: UUID, arguments: Any, deadline: float) -> Any:
        complete = import_string(settings().model_client)
        timeout = min(context.remaining_seconds, deadline - time.monotonic())
        if arguments.get("stream") and "tell" in inspect.signature(complete).parameters:
            answer = self._streamed(complete, context, arguments, timeout)
        else:
            answer = complete(arguments, timeout=timeout)
        if inspect.isawaitable(answer):
            raise TypeError(f"{settings().model_client} is a coroutine: the model client is a plain function")
        return answer

    def _streamed(
        self, complete: Callable[..., Any], context: Context, arguments: Any, timeout: float
    ) -> Any:
        step = context.step

        def tell(text: str) -> None:
            if context.cancelled:
                raise NotSent("the step was cancelled while the model answered")
            telling.tell(text)

        with closing(live.Telling(step.job_id, step.key, step.attempt, self.call)) as telling:
            return complete(arguments, timeout=timeout, tell=tell)

    @property
    def place(self) -> limits.Place | None:
        return limits.of_model(self.model)

    def usage(self, result: Any) -> dict[str, Any] | None:
        return usage_of(self.model, result)

    def provenance(self, arguments: Any, usage: dict[str, Any] | None) -> list[chain.Part]:
        return [part("provenance", provenance(arguments, usage or {}))]


@dataclass(frozen=True)
class CallContext:
    """What a tool sees of the step that calls it."""

    context: Context
    idempotency_key: str
    deadline: float

    @property
    def attempt(self) -> int:
        return self.context.step.attempt

    @property
    def job_id(self) -> str:
        return str(self.context.step.job_id)

    @property
    def step(self) -> str:
        return self.context.step.key

    @property
    def remaining_seconds(self) -> float:
        """Until the step's time or the tool's is over. A request must not leave after it: the ledger may by then
        have been told that it never will."""
        return min(self.context.remaining_seconds, self.deadline - time.monotonic())

    @property
    def cancelled(self) -> bool:
        return self.context.cancelled

    @property
    def callback_token(self) -> str:
        return callback_token(self.context.step, self.idempotency_key)

    @property
    def callback_url(self) -> str:
        return f"{settings().public_url.rstrip('/')}/api/v1/callbacks/{self.callback_token}"


CALLBACK = "aetheris.callback"
"""The salt of the signature: a token is good for this and nothing else."""


def callback_token(step: Step, key: str) -> str:
    return signing.dumps([str(step.job_id), step.pk, key], salt=CALLBACK)


def tool_callee(name: str, compensate: Mapping[str, Any] | Literal[False] | None = None) -> ToolCallee:
    found = tools.get(name)
    if found is None:
        raise ToolNotFound(name, tools.names())
    return ToolCallee(found, compensate)
