"""`tool`: one call of a registered tool."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any
from uuid import UUID

import tools
from runtime import compensations, expressions
from runtime.callees import tool_callee
from runtime.graph import Problem
from runtime.intents import Intent
from runtime.nodes.base import Node
from runtime.outcomes import Completed, Outcome

if TYPE_CHECKING:
    from runtime.context import Context
    from runtime.models import Step


class ToolNode(Node):
    kind = "tool"
    settles_with_record = True

    def validate(self, config: Mapping[str, Any]) -> Iterable[Problem]:
        tool = tools.get(str(config.get("tool")))
        inputs = config.get("inputs", {})
        if tool is None or not isinstance(inputs, dict):
            return
        yield from self._undoing_problems(tool, config)
        open_inputs = {name for name, value in inputs.items() if expressions.references(value)}
        for path, message in tool.problems(inputs, unknown=open_inputs):
            taken = ", ".join(tool.arguments_schema.get("properties", {}))
            hint = f"tool {tool.name!r} takes {taken or 'no arguments'}"
            yield Problem(f"inputs.{path}", "wrong_argument", message, hint)

    def run(self, step: Step, context: Context) -> Outcome:
        arguments = context.evaluate(step.config.get("inputs", {}))
        name, compensate = step.config["tool"], step.config.get("compensate")
        return Completed(context.call_tool(name, arguments, call=name, compensate=compensate))

    def intent(
        self,
        tenant: str,
        job_id: UUID,
        step_id: int,
        step_key: str,
        config: Mapping[str, Any],
        names: Mapping[str, Any],
    ) -> Intent | None:
        callee = tool_callee(config["tool"], config.get("compensate"))
        arguments = callee.tool.checked(expressions.evaluate(config.get("inputs", {}), names))
        return Intent.make(tenant, job_id, step_id, step_key, callee.name, callee, arguments)

    def _undoing_problems(self, tool: tools.Tool, config: Mapping[str, Any]) -> Iterable[Problem]:
        if "compensate" not in config:
            declared = tool.compensate.as_json() if tool.compensate else None
            return [problem.below("tool.compensate") for problem in compensations.problems(declared)]
        if config["compensate"] and tool.policy.read_only:
            return [Problem("compensate", "read_only", f"tool {tool.name!r} has no effect to undo")]
        return [problem.below("compensate") for problem in compensations.problems(config["compensate"])]
