"""Agents and step functions that installed apps declare in their `agents.py`."""

import hashlib
import inspect
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, overload

from runtime import grants, nodes, policies
from runtime.conf import settings
from runtime.exceptions import AgentNotFound, FunctionNotFound, InputInvalid
from runtime.graph import Graph, TaskGraph, fields, seconds
from runtime.rows import Rows
from runtime.timetables import Scheduled
from tools import registry

GraphFunction = Callable[[], Graph]
PARTS = re.compile(r"(\d+)")
ON_CODE_CHANGE = ("block", "warn", "allow")


@dataclass(frozen=True)
class Agent:
    """A named, versioned plan. Its graph is built and checked once per process."""

    name: str
    version: str
    function: GraphFunction
    queue: str | None = None
    priority: int | None = None
    requires: tuple[str, ...] = ()
    policy: Mapping[str, Any] | None = None
    """What it says of failures of all its steps: the keys of a node's `retry`, and `timeout`."""
    timeout: float | None = None
    """Seconds of work that a job may take."""
    tools: grants.Rules = field(default_factory=dict)
    models: grants.Rules = field(default_factory=dict)
    schedule: Scheduled | None = None
    on_code_change: str | None = None
    """What happens to jobs whose step functions change under them: block, warn or allow."""

    @property
    def description(self) -> str:
        return inspect.getdoc(self.function) or ""

    @cached_property
    def graph(self) -> TaskGraph:
        """Raises `GraphInvalid` with every fault and its place."""
        return parse(self.function().build(), sources=[*grants.deployment(), self.source])

    @property
    def source(self) -> grants.Source:
        """What it says of tools and models."""
        return grants.Source(f"agent {self.name}", {"tool": self.tools, "llm": self.models})

    @cached_property
    def rows(self) -> Rows:
        return Rows.of(self.graph, policy=self.policy)


@dataclass(frozen=True)
class StepFunction:
    """A plain or async Python function that a `function` node runs."""

    name: str
    function: Callable[..., Any]
    strict: bool = False
    """Refuse to run it while it breaks the step contract."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)

    @cached_property
    def digest(self) -> str:
        """Of its source, and of the helpers that it leads to: see `runtime.code`."""
        from runtime import code  # looks at what is registered here

        return code.digest(self.function)


_agents: dict[str, Agent] = {}
"""By name: the version that new jobs get."""
_versions: dict[tuple[str, str], Agent] = {}
_functions: dict[str, StepFunction] = {}


def agent(
    name: str,
    *,
    version: str = "1",
    queue: str | None = None,
    priority: int | None = None,
    requires: Collection[str] = (),
    policy: Mapping[str, Any] | None = None,
    timeout: Any = None,
    tools: grants.Rules | None = None,
    models: grants.Rules | None = None,
    schedule: Scheduled | None = None,
    on_code_change: str | None = None,
) -> Callable[[GraphFunction], GraphFunction]:
    """Register a function that builds an agent's graph.

    Several versions of a name may be registered: new jobs get the highest, and a job keeps the graph it began with.
    `on_code_change` says what happens to jobs whose step functions change: see docs/versioning.md.
    `queue`, `priority` and `requires` are for jobs that are submitted without, and for nodes that say nothing else.
    `tools` and `models` say what it may call, `policy` says how failures of its steps are answered, where a
    node does not say it: see docs/policies.md. `timeout` is how long a job may work in all, in seconds, as a
    timedelta or as "2h".
    `schedule` begins jobs at given times, from the next `migrate` on.
    """
    granted_tools = grants.checked(tools or {}, f"tools of agent {name!r}")
    granted_models = grants.checked(models or {}, f"models of agent {name!r}")
    if policy:
        policies.checked(policy, fields.POLICY, f"policy of agent {name!r}")
    if wrong := fields.REQUIRES.check(list(requires)):
        raise InputInvalid(f"requires of agent {name!r}", wrong)
    if priority is not None and (wrong := fields.PRIORITY.check(priority)):
        raise InputInvalid(f"priority of agent {name!r}", wrong)
    limit = None if timeout is None else seconds(timeout)
    if on_code_change not in (None, *ON_CODE_CHANGE):
        raise InputInvalid(f"on_code_change of agent {name!r}", f"must be one of {', '.join(ON_CODE_CHANGE)}")

    def register(function: GraphFunction) -> GraphFunction:
        declared = Agent(
            name, version, function, queue, priority, tuple(requires), policy, limit,
            tools=granted_tools, models=granted_models, schedule=schedule, on_code_change=on_code_change,
        )  # fmt: skip
        _versions[name, version] = declared
        if name not in _agents or _order(version) >= _order(_agents[name].version):
            _agents[name] = declared
        return function

    return register


@overload
def step(function: Callable[..., Any]) -> StepFunction: ...
@overload
def step(
    *, name: str | None = None, strict: bool = False
) -> Callable[[Callable[..., Any]], StepFunction]: ...
def step(
    function: Callable[..., Any] | None = None, *, name: str | None = None, strict: bool = False
) -> StepFunction | Callable[[Callable[..., Any]], StepFunction]:
    """Register a step function: `def score(context, amount): …`. It may be run again after a crash.

    So what it does must be repeatable or recorded: see docs/step-contract.md. A strict step that is found to
    break this contract fails instead of running.
    """

    def register(function: Callable[..., Any]) -> StepFunction:
        declared = StepFunction(name or function.__name__, function, strict)
        _functions[declared.name] = declared
        return declared

    return register(function) if function is not None else register


def get(name: str) -> Agent:
    try:
        return _agents[name]
    except KeyError:
        raise AgentNotFound(name, sorted(_agents)) from None


def versions(name: str) -> list[str]:
    """The versions of an agent that are registered here, the one that new jobs get last."""
    return sorted((version for known, version in _versions if known == name), key=_order)


def on_code_change(name: str, version: str) -> str:
    """What a job's version of an agent says of changed code, else any version, else the settings."""
    found = _versions.get((name, version)) or _agents.get(name)
    return (found.on_code_change if found else None) or settings().on_code_change


def _order(version: str) -> list[tuple[bool, int, str]]:
    """Numbers in a version count as numbers: 1.10 comes after 1.9."""
    return [(part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in PARTS.split(version)]


def policy_of(name: str) -> Mapping[str, Any] | None:
    """What an agent says of failures; of one that is not registered here, and of graphs without one, nothing."""
    found = _agents.get(name)
    return found.policy if found else None


def sources(name: str, config: Mapping[str, Any] | None = None) -> list[grants.Source]:
    """Everybody who has a say in what a step of this config may call, in a job of this agent."""
    found = _agents.get(name)
    own = [found.source] if found and (found.tools or found.models) else []
    return [*grants.deployment(), *own, *grants.around(config or {})]


def registered() -> dict[str, Agent]:
    return dict(_agents)


def functions() -> dict[str, StepFunction]:
    return dict(_functions)


def functions_here() -> Mapping[str, StepFunction]:
    """The registry itself, to look into."""
    return _functions


def function(name: str) -> StepFunction:
    try:
        return _functions[name]
    except KeyError:
        raise FunctionNotFound(name, sorted(_functions)) from None


def parse(
    data: Any, *, outer: Collection[str] | None = None, sources: Sequence[grants.Source] | None = None
) -> TaskGraph:
    """Check a graph in wire form against what is registered here, and what it calls against what `sources` grant.

    Without sources the deployment alone has a say. Raises `GraphInvalid`.
    """
    graph = TaskGraph.parse(
        data,
        tools=registry.names(),
        kinds=nodes.registered(),
        functions=list(_functions),
        queues=settings().all_queues,
        outer=outer,
        limit=settings().max_nodes,
    )
    return grants.check(graph, grants.deployment() if sources is None else sources)


def ad_hoc(data: Any) -> tuple[TaskGraph, str]:
    """A graph that came with the request, and the version that names it."""
    graph = parse(data)
    return graph, hashlib.sha256(graph.digest.encode()).hexdigest()[:12]
