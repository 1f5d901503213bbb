"""A graph as rows: what the gate inserts as steps and edges."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runtime import expressions, policies
from runtime.conf import settings
from runtime.graph import PlannedStep, TaskGraph, seconds


@dataclass(frozen=True)
class Rows:
    steps: list[dict[str, Any]]
    edges: list[dict[str, Any]]
    result_template: dict[str, Any]

    @classmethod
    def of(
        cls,
        graph: TaskGraph,
        outer: Mapping[str, str] | None = None,
        policy: Mapping[str, Any] | None = None,
        within: Sequence[Mapping[str, Any]] = (),
    ) -> "Rows":
        """The rows of a graph. `outer` are names from around it: name → key of the step that it stands for.

        `policy` is what the agent says of failures; see `runtime.policies`. `within` is what the plans around say
        of tools; see `runtime.grants`.
        """
        plan = graph.plan()
        edges = [
            {"parent": edge.parent_key, "child": edge.child_key, "when": edge.when} for edge in plan.edges
        ]
        local = frozenset(step.key for step in plan.steps)
        steps = [_row(step, local, outer or {}, policy, within) for step in plan.steps]
        return cls(steps, edges, _result_template(plan.result, plan.steps, edges))


def _row(
    step: PlannedStep,
    local: frozenset[str],
    outer: Mapping[str, str],
    agent_policy: Mapping[str, Any] | None,
    within: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    retry = policies.stored({"kind": step.kind, **step.config}, agent_policy)
    timeout = retry.pop("timeout", None)
    return {
        "key": step.key,
        "kind": step.kind,
        "config": _config(step.config, retry, within),
        "local_refs": [name for name in step.refs if name in local],
        "refs": {name: outer[name] for name in step.refs if name not in local and name in outer},
        "join": step.join,
        "join_needed": None if step.join == "all" else step.join_needed,
        "parents": step.parents,
        "max_attempts": retry.get("max_attempts") or settings().max_attempts,
        "queue": step.queue,
        "priority": step.priority,
        "requires": step.requires,
        "timeout": settings().step_timeout_seconds if timeout is None else seconds(timeout),
    }


def _config(
    given: dict[str, Any], retry: dict[str, Any], within: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """What the node says, and what it does not say itself: a key `within` of its own has no meaning."""
    if not retry and not within and "within" not in given:
        return given
    resolved = {"retry": retry} if retry else {}
    bounds = {"within": list(within)} if within else {}
    return {**{name: value for name, value in given.items() if name != "within"}, **resolved, **bounds}


def _result_template(result: Any, steps: list[PlannedStep], edges: list[dict[str, Any]]) -> dict[str, Any]:
    """Without a result template the answer is that of the last step, where there is one last step."""
    if result is None:
        parents = {edge["parent"] for edge in edges}
        last = [step.key for step in steps if step.key not in parents]
        return {"step": last[0]} if len(last) == 1 else {}
    if isinstance(result, str) and result.startswith("${") and result.endswith("}"):
        name = result[2:-1]
        if any(step.key == name for step in steps):
            return {"step": name}
    return {"expression": result}


def evaluate(template: dict[str, Any], names: Mapping[str, Any]) -> Any:
    """The value of a result template over a scope's names. Raises `ExpressionFailed`."""
    if "step" in template:
        return names.get(template["step"])
    return expressions.evaluate(template.get("expression"), names)


def references(template: dict[str, Any]) -> set[str]:
    """The names that a result template speaks of."""
    if "step" in template:
        return {template["step"]}
    return expressions.references(template.get("expression"))
