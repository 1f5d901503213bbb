"""What may be called: each tool and each model is allowed, needs a person's approval, or is denied.

The deployment says it (`TOOL_GRANTS`, `MODEL_GRANTS`), an agent does (`@agent(tools=…, models=…)`), and a `plan`
does for the steps that it makes (`tools`, `agents`). Of what they say the strictest holds. It is asked where a
graph is checked, and again before a call is intended: what is denied later is not called any more.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from runtime.conf import settings
from runtime.exceptions import InputInvalid
from runtime.graph import GraphInvalid, Problem, TaskGraph, fields, seconds
from runtime.graph.kinds import sub_graph

if TYPE_CHECKING:
    from runtime.models import Step

Rules = Mapping[str, Any]
"""Patterns of names, each with a decision or with `{"decision", "approvers", "timeout"}`."""

ALLOW, APPROVAL, DENY = "allow", "require_approval", "deny"
STRICTNESS = (ALLOW, APPROVAL, DENY)


@dataclass(frozen=True)
class Grant:
    """What was decided about one call, and which rule decided it; `by` is empty where no rule spoke of it."""

    decision: str = ALLOW
    by: str = ""
    approvers: Mapping[str, Any] = field(default_factory=dict)
    timeout: timedelta | None = None

    def as_json(self) -> dict[str, str]:
        return {"decision": self.decision, "by": self.by}


@dataclass(frozen=True)
class Source:
    """One who has a say. Rules by what they speak of: tool, llm, or agent."""

    name: str
    rules: Mapping[str, Rules]

    def grant(self, kind: str, name: str) -> Grant | None:
        rules = self.rules.get(kind)
        pattern = nearest(rules, name) if rules else None
        if rules is None or pattern is None:
            return None
        said = rules[pattern]
        by = f"{self.name}: {pattern}"
        if isinstance(said, str):
            return Grant(said, by)
        timeout = timedelta(seconds=seconds(said["timeout"])) if "timeout" in said else None
        return Grant(said["decision"], by, said.get("approvers", {}), timeout)


def deployment() -> list[Source]:
    """What the settings say. Raises `InputInvalid` for rules that are none."""
    said = {"tool": settings().tool_grants, "llm": settings().model_grants}
    rules = {
        kind: checked(rules, f"grants of the settings for {kind}s") for kind, rules in said.items() if rules
    }
    return [Source("settings", rules)] if rules else []


def around(config: Mapping[str, Any]) -> list[Source]:
    """What the plans around a step say, from the step's own config."""
    return [Source(f"plan {plan['plan']}", _listed(plan)) for plan in config.get("within", ())]


def within(step: Step) -> list[dict[str, Any]]:
    """What steps inside of `step` are told of the plans around them: its own, and it, if it is a plan with a list."""
    outer = list(step.config.get("within", ()))
    if step.kind != "plan" or "tools" not in step.config:
        return outer
    return [
        *outer,
        {"plan": step.key, "tools": step.config["tools"], "agents": step.config.get("agents", [])},
    ]


def decide(kind: str, name: str, sources: Iterable[Source]) -> Grant:
    """The strictest of what the sources say; of two that say the same, the first."""
    said = [grant for source in sources if (grant := source.grant(kind, name))]
    return max(said, key=lambda grant: STRICTNESS.index(grant.decision), default=Grant())


def check(graph: TaskGraph, sources: Sequence[Source]) -> TaskGraph:
    """The graph, if nothing in it is denied. Raises `GraphInvalid` with the places."""
    if sources and (problems := list(_denied(graph.to_json(), sources))):
        raise GraphInvalid(problems)
    return graph


def checked(rules: Rules, place: str) -> Rules:
    """Rules, or `InputInvalid` with what is wrong."""
    if not isinstance(rules, Mapping):
        raise InputInvalid(place, "must be an object: names or patterns, each with a decision")
    for pattern, said in rules.items():
        wrong = fields.TEXT.check(pattern) or fields.GRANT.check(said)
        if wrong:
            raise InputInvalid(f"{place}, {pattern!r}", wrong)
    return rules


def _denied(graph: Mapping[str, Any], sources: Sequence[Source]) -> Iterator[Problem]:
    for number, node in enumerate(graph["nodes"]):
        place = f"nodes[{number}]"
        for kind, key, name in _named(node):
            grant = decide(kind, name, sources)
            if grant.decision == DENY:
                yield Problem(f"{place}.{key}", "denied", f"{name!r} is denied here", f"by {grant.by}")
        if body := sub_graph(node):
            yield from (problem.below(f"{place}.graph") for problem in _denied(body, sources))


def _named(node: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """What a node says that it will call: kind, key, name."""
    if node["kind"] == "tool":
        yield "tool", "tool", node["tool"]
        if isinstance(undo := node.get("compensate"), Mapping):
            yield "tool", "compensate.tool", undo["tool"]
    elif node["kind"] == "subjob":
        yield "agent", "agent", node["agent"]
    elif node["kind"] == "llm" or (node["kind"] == "plan" and "prompt" in node):
        yield "llm", "model", node.get("model") or settings().model_name


def _listed(plan: Mapping[str, Any]) -> dict[str, Rules]:
    return {
        kind: {**dict.fromkeys(plan[key], ALLOW), "*": ALLOW if "*" in plan[key] else DENY}
        for kind, key in (("tool", "tools"), ("agent", "agents"))
    }


def nearest(rules: Rules, name: str) -> str | None:
    """The name itself, else the pattern that says most of it, whatever the order they are written in."""
    if name in rules:
        return name
    fitting = (pattern for pattern in rules if fnmatchcase(name, pattern))
    return max(fitting, key=lambda pattern: (sum(c not in "*?[]" for c in pattern), pattern), default=None)
