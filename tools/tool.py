"""The `@tool` decorator: a plain or async function, its typed arguments, and its policy."""

import asyncio
import inspect
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from typing import Any, Protocol, overload

from pydantic import BaseModel, ConfigDict, ValidationError, create_model
from pydantic_core import to_jsonable_python

from tools import registry
from tools.answers import Failed, Happened, News, Pending, Verdict
from tools.compensation import Compensation
from tools.errors import ToolArgumentsInvalid
from tools.rates import Limit


class ToolContext(Protocol):
    """What the first parameter of a tool offers, if the tool has one named `context`."""

    @property
    def idempotency_key(self) -> str:
        """The same on every attempt of the same call: send it outside."""

    @property
    def attempt(self) -> int: ...

    @property
    def job_id(self) -> str: ...

    @property
    def step(self) -> str: ...

    @property
    def remaining_seconds(self) -> float: ...

    @property
    def cancelled(self) -> bool: ...

    @property
    def callback_token(self) -> str:
        """Whoever posts to `/api/v1/callbacks/TOKEN` says how this call ended, once."""

    @property
    def callback_url(self) -> str:
        """The address of that token, below the setting `PUBLIC_URL`."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What a repeated call would mean. Nothing declared means: never call twice, ask a person when in doubt."""

    read_only: bool = False
    idempotent: bool = False
    key_window: timedelta | None = None
    """How long the outside keeps an idempotency key; later a repeat would be a second effect."""
    timeout: float = 60.0
    """Seconds within which a call may be sent, and which its author should end it in."""
    rate: str = ""
    """How often it may be called, such as `10/s` or `100/m`, over all workers."""
    concurrency: int = 0
    """How many calls may be under way at once, over all workers; 0 is no limit."""

    @property
    def limit(self) -> Limit:
        return Limit(self.rate, self.concurrency)

    def may_repeat(self, age: timedelta) -> bool:
        """Whether a call of unknown outcome, first intended `age` ago, may be made again with its key."""
        return self.read_only or self.idempotent and (self.key_window is None or age < self.key_window)


Verify = Callable[[str, dict[str, Any]], Verdict]
Poll = Callable[[str, str, dict[str, Any]], News]
OnCallback = Callable[[Any], Happened | Failed]


@dataclass(frozen=True)
class Tool:
    """A registered tool. `call` runs it; what it returns is JSON."""

    name: str
    function: Callable[..., Any]
    policy: Policy = field(default_factory=Policy)
    verify: Verify | None = None
    version: str = "1"
    retry: Mapping[str, Any] | None = None
    """How steps that call it are tried again, where neither node nor agent says: the keys of a node's `retry`."""
    compensate: Compensation | None = None
    poll: Poll | None = None
    webhook: str = ""
    on_callback: OnCallback = Happened

    @property
    def where(self) -> str:
        return f"{self.function.__module__}.{self.function.__qualname__}"

    @property
    def description(self) -> str:
        return inspect.getdoc(self.function) or ""

    @cached_property
    def takes_context(self) -> bool:
        return next(iter(inspect.signature(self.function).parameters), "") == "context"

    @cached_property
    def arguments_model(self) -> type[BaseModel]:
        fields: dict[str, Any] = {}
        for name, parameter in inspect.signature(self.function, eval_str=True).parameters.items():
            if name == "context":
                continue
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                raise TypeError(
                    f"tool {self.name!r} ({self.where}): *{name} cannot be checked; name every argument"
                )
            annotation = Any if parameter.annotation is parameter.empty else parameter.annotation
            fields[name] = (annotation, ... if parameter.default is parameter.empty else parameter.default)
        config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)
        return create_model(f"{self.name}_arguments", __config__=config, **fields)

    @property
    def arguments_schema(self) -> dict[str, Any]:
        return self.arguments_model.model_json_schema()

    def checked(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments as JSON, converted to the declared types. Raises `ToolArgumentsInvalid`."""
        return to_jsonable_python(self._parsed(arguments).model_dump(mode="json"))  # type: ignore[no-any-return]

    def problems(self, arguments: Mapping[str, Any], unknown: Collection[str] = ()) -> list[tuple[str, str]]:
        """What is wrong with arguments of which those in `unknown` have no value yet."""
        try:
            self._parsed(arguments)
        except ToolArgumentsInvalid as error:
            return [
                (path, text)
                for path, text in error.problems
                if path.split(".")[0].split("[")[0] not in unknown
            ]
        return []

    def call(self, context: ToolContext, arguments: Mapping[str, Any]) -> Any:
        """Run the tool. The result is JSON, a model or dataclass being turned into its fields, or it is `Pending`."""
        parsed = self._parsed(arguments)
        values = {name: getattr(parsed, name) for name in type(parsed).model_fields}
        result = self.function(context, **values) if self.takes_context else self.function(**values)
        if inspect.isawaitable(result):
            result = asyncio.run(_awaited(result))
        return result if isinstance(result, Pending) else to_jsonable_python(result)

    def _parsed(self, arguments: Mapping[str, Any]) -> BaseModel:
        try:
            return self.arguments_model.model_validate(dict(arguments))
        except ValidationError as error:
            problems = [(_path(detail["loc"]), detail["msg"]) for detail in error.errors(include_url=False)]
            raise ToolArgumentsInvalid(self.name, problems) from error


async def _awaited(result: Any) -> Any:
    return await result


def _path(location: tuple[int | str, ...]) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return text.removeprefix(".")


@overload
def tool(function: Callable[..., Any]) -> Tool: ...
@overload
def tool(
    *,
    name: str | None = None,
    read_only: bool = False,
    idempotent: bool = False,
    key_window: timedelta | None = None,
    timeout: float = 60.0,
    rate: str = "",
    concurrency: int = 0,
    verify: Verify | None = None,
    version: str = "1",
    retry: Mapping[str, Any] | None = None,
    compensate: Compensation | None = None,
    poll: Poll | None = None,
    webhook: str = "",
    on_callback: OnCallback = Happened,
) -> Callable[[Callable[..., Any]], Tool]: ...
def tool(
    function: Callable[..., Any] | None = None,
    *,
    name: str | None = None,
    verify: Verify | None = None,
    version: str = "1",
    retry: Mapping[str, Any] | None = None,
    compensate: Compensation | None = None,
    poll: Poll | None = None,
    webhook: str = "",
    on_callback: OnCallback = Happened,
    **policy: Any,
) -> Tool | Callable[[Callable[..., Any]], Tool]:
    """Declare a tool and register it.

    `read_only`: no effect outside, may be called again. `idempotent` with `key_window`: may be called again
    with the same key while the outside keeps it. `verify(key, arguments)`: tells whether a call happened.
    With none of these a call of unknown outcome waits for a person. `retry` says how steps that call it are tried
    again, with the keys of a node's `retry`. `compensate`: the tool that undoes a call, when a job whose graph
    says so ends as failed or cancelled.

    For a tool that answers `Pending`: `poll(external_id, key, arguments)` asks how far the call is; `webhook` names
    the provider whose webhooks may settle it; `on_callback(body)` reads what was posted to its `callback_url`, which
    is the result unless it says otherwise.
    """

    def declare(function: Callable[..., Any]) -> Tool:
        declared = Tool(
            name or function.__name__,
            function,
            Policy(**policy),
            verify,
            version,
            retry,
            compensate,
            poll,
            webhook,
            on_callback,
        )
        if compensate is not None and declared.policy.read_only:
            raise TypeError(
                f"tool {declared.name!r} ({declared.where}) is read_only: there is nothing to compensate"
            )
        declared.policy.limit  # noqa: B018 - as is a limit that says nothing
        declared.arguments_model  # noqa: B018 - a signature that cannot be checked is refused at import
        registry.register(declared)
        return declared

    return declare(function) if function is not None else declare
