"""`plan`: code or a model makes a graph. It is checked, recorded once, never made again, and run in this place."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any

from runtime import agents, scopes
from runtime.graph import Graph, GraphInvalid
from runtime.nodes.base import Node
from runtime.nodes.llm import request
from runtime.outcomes import Completed, Expand, Failed, Outcome, Retry

if TYPE_CHECKING:
    from runtime.context import Context
    from runtime.models import Step


class PlanNode(Node):
    kind = "plan"

    def run(self, step: Step, context: Context) -> Outcome:
        if context.resume is None:
            return self._plan(step, context)
        (ended,) = scopes.ended(step, context)
        if ended.status != "completed":
            return Failed(
                ended.error or {"type": "PlanFailed", "message": f"the planned graph was {ended.status}"}
            )
        return Completed(ended.result)

    def _plan(self, step: Step, context: Context) -> Outcome:
        by_model = "prompt" in step.config
        try:
            wire = self._ask(step, context) if by_model else self._call(step, context)
            graph = agents.parse(wire, outer=context.names.keys() - {"input"})
        except GraphInvalid as error:
            told = {
                "type": "GraphInvalid",
                "message": str(error),
                "problems": [p.as_dict() for p in error.problems],
            }
            # A model may do better when it is asked again; code would make the same graph.
            return Retry(told) if by_model else Failed(told)
        return Expand(graph, [dict(context.bindings)], indexed=False)

    def _call(self, step: Step, context: Context) -> Any:
        function = agents.function(step.config["function"])
        made = function(context, **context.evaluate(step.config.get("inputs", {})))
        if inspect.isawaitable(made):
            made = asyncio.run(_awaited(made))
        return made.build() if isinstance(made, Graph) else made

    def _ask(self, step: Step, context: Context) -> Any:
        asked = {**request(step.config, context.names), "response_format": {"type": "json_object"}}
        if step.failures and step.error:
            told = f"The graph before this one was refused:\n{step.error.get('message', '')}\nAnswer with one that can run."
            asked["messages"] = [*asked["messages"], {"role": "user", "content": told}]
        return context.model(asked, call=f"llm.{step.failures}")["content"]


async def _awaited(made: Any) -> Any:
    return await made
