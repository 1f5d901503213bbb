"""How failures of a step are answered: the one place that resolves it, and the arithmetic of retries.

The nearest wins, key by key: what the node says in `retry` and `timeout`, then its agent's `policy`, then the
`retry` of the tool that it calls, then the settings. It is resolved when the step is recorded, and stored with it:
what changes later changes later steps. Only waits that nobody but the settings speaks of are read when they begin.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from datetime import timedelta
from typing import Any, NamedTuple

import tools
from runtime.conf import settings
from runtime.exceptions import InputInvalid
from runtime.graph import fields, seconds

PARKING = frozenset({"approval", "wait", "timer"})
"""Kinds whose `timeout` is how long they wait, not how long they work."""


class Value(NamedTuple):
    """One value of a policy, and who says so: settings, tool, agent or node."""

    value: Any
    source: str


def defaults() -> dict[str, Any]:
    """What holds where nobody says anything. Durations are seconds."""
    known = settings()
    return {
        "max_attempts": known.max_attempts,
        "backoff": known.backoff_seconds,
        "factor": 2.0,
        "max_backoff": known.backoff_cap_seconds,
        "jitter": True,
        "retryable": None,
        "permanent": [],
        "on_timeout": "retry",
        "timeout": known.step_timeout_seconds,
    }


def layers(node: Mapping[str, Any], agent: Mapping[str, Any] | None) -> list[tuple[str, Mapping[str, Any]]]:
    """What tool, agent and node say, the nearest last. Raises `InputInvalid` for a tool that says nonsense."""
    found = []
    if node["kind"] == "tool" and (tool := tools.get(node["tool"])) is not None and tool.retry:
        found.append(("tool", checked(tool.retry, fields.RETRY, f"retry of tool {tool.name!r}")))
    if agent:
        found.append(("agent", agent))
    own = dict(node.get("retry", {}))
    if "timeout" in node and node["kind"] not in PARKING:
        own["timeout"] = node["timeout"]
    if own:
        found.append(("node", own))
    return found


def resolve(node: Mapping[str, Any], agent: Mapping[str, Any] | None = None) -> dict[str, Value]:
    """The whole policy of a node, with the source of each value."""
    resolved = {name: Value(value, "settings") for name, value in defaults().items()}
    for source, said in layers(node, agent):
        resolved |= {name: Value(value, source) for name, value in said.items()}
    return resolved


def stored(node: Mapping[str, Any], agent: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What a step keeps of it: whatever somebody nearer than the settings says."""
    return {name: value for _, said in layers(node, agent) for name, value in said.items()}


def checked(policy: Mapping[str, Any], field: fields.Field, place: str) -> Mapping[str, Any]:
    if wrong := field.check(policy):
        raise InputInvalid(place, wrong)
    return policy


def backoff(failures: int, retry: Mapping[str, Any], chance: float) -> timedelta:
    """How long to wait after the `failures`-th failure. `chance` in [0, 1) is the jitter.

    `initial * factor**(failures - 1)`, at most `max`, then up to half of it is taken off by chance, so that
    steps that failed together do not come back together.
    """
    initial = seconds(retry["backoff"]) if "backoff" in retry else settings().backoff_seconds
    cap = seconds(retry["max_backoff"]) if "max_backoff" in retry else settings().backoff_cap_seconds
    factor = float(retry.get("factor", 2.0))
    try:
        wait = min(cap, initial * factor ** (failures - 1))
    except OverflowError:  # before the cap could apply
        wait = cap
    return timedelta(seconds=wait * (1 - chance / 2) if retry.get("jitter", True) else wait)


def is_permanent(names: AbstractSet[str], retry: Mapping[str, Any]) -> bool:
    """Whether an error of these types ends its step at once: `permanent` lists it, or `retryable` does not."""
    if not names.isdisjoint(retry.get("permanent", ())):
        return True
    return "retryable" in retry and names.isdisjoint(retry["retryable"])


def type_names(errors: Iterable[BaseException]) -> set[str]:
    """What the errors are, bare and with their modules, with the classes that they extend."""
    kinds = {kind for error in errors for kind in type(error).__mro__} - {object, BaseException}
    return {name for kind in kinds for name in (kind.__name__, f"{kind.__module__}.{kind.__qualname__}")}


def fails_when_timed_out(config: Mapping[str, Any]) -> bool:
    return bool(config.get("retry", {}).get("on_timeout") == "fail")
