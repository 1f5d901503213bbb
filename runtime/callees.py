"""What a call goes to: a registered tool, or a model behind the client that the settings name."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.utils.module_loading import import_string

import tools
from runtime.conf import settings
from runtime.exceptions import ToolNotFound
from tools import CannotTell, Policy

if TYPE_CHECKING:
    from runtime.context import Context


@dataclass(frozen=True)
class ToolCallee:
    tool: tools.Tool
    kind: str = "tool"
    called_event: str = "tool_called"
    returned_event: str = "tool_returned"
    arguments_part: str = "tool.arguments"
    result_part: str = "tool.result"

    @property
    def name(self) -> str:
        return self.tool.name

    @property
    def policy(self) -> Policy:
        return self.tool.policy

    def send(self, context: Context, key: UUID, arguments: Any) -> Any:
        return self.tool.call(CallContext(context, str(key)), arguments)

    @property
    def has_verify(self) -> bool:
        return self.tool.verify is not None

    def verdict(self, key: UUID, arguments: Any) -> Any:
        return self.tool.verify(str(key), arguments) if self.tool.verify else CannotTell()

    def usage(self, result: Any) -> None:
        return None


@dataclass(frozen=True)
class ModelCallee:
    """A model call: safe to repeat, never repeated once recorded."""

    name: str
    kind: str = "llm"
    called_event: str = "model_called"
    returned_event: str = "model_returned"
    arguments_part: str = "llm.messages"
    result_part: str = "output"

    @property
    def policy(self) -> Policy:
        return Policy(read_only=True, timeout=settings().model_timeout_seconds)

    def send(self, context: Context, key: UUID, arguments: Any) -> Any:
        complete = import_string(settings().model_client)
        answer = complete(arguments, timeout=min(context.remaining_seconds, self.policy.timeout))
        if inspect.isawaitable(answer):
            raise TypeError(f"{settings().model_client} is a coroutine: the model client is a plain function")
        return answer

    @property
    def has_verify(self) -> bool:
        return False

    def verdict(self, key: UUID, arguments: Any) -> Any:
        return CannotTell()

    def usage(self, result: Any) -> dict[str, Any] | None:
        return result.get("usage") if isinstance(result, dict) else None


@dataclass
class CallContext:
    """What a tool sees of the step that calls it."""

    context: Context
    idempotency_key: str

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
        return self.context.remaining_seconds

    @property
    def cancelled(self) -> bool:
        return self.context.cancelled


def tool_callee(name: str) -> ToolCallee:
    found = tools.get(name)
    if found is None:
        raise ToolNotFound(name, tools.names())
    return ToolCallee(found)
