"""`plan`: code or a model makes a graph. It is checked, recorded once, never made again, and run in this place."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any

from runtime import agents, grants, scopes
from runtime.coroutines import awaited
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
        if "prompt" in step.config:
            return self._ask(step, context)
        try:
            return self._expand(self._call(step, context), step, context)
        except GraphInvalid as error:
            return Failed(_told(error))  # code would make the same graph again

    def _expand(self, wire: Any, step: Step, context: Context) -> Outcome:
        inside = {"within": grants.within(step)}
        graph = agents.parse(
            wire, outer=context.names.keys() - {"input"}, sources=agents.sources(step.job.agent, inside)
        )
        return Expand(graph, [dict(context.bindings)], indexed=False)

    def _call(self, step: Step, context: Context) -> Any:
        function = agents.function(step.config["function"])
        made = awaited(function(context, **context.evaluate(step.config.get("inputs", {}))), context)
        return made.build() if isinstance(made, Graph) else made

    def _ask(self, step: Step, context: Context) -> Outcome:
        asked = {**request(step.config, context.names), "response_format": {"type": "json_object"}}
        for number in count():
            # A recorded answer is never asked for again: one that was refused leads to the same next question.
            sent = context.calls_sent
            content = context.model(asked, call=f"llm.{number}")["content"]
            try:
                return self._expand(content, step, context)
            except GraphInvalid as error:
                if context.calls_sent > sent:
                    return Retry(_told(error))
                told = f"The graph before this one was refused:\n{error}\nAnswer with one that can run."
                asked = {**asked, "messages": [*asked["messages"], {"role": "user", "content": told}]}
        raise AssertionError("count() ends")


def _told(error: GraphInvalid) -> dict[str, Any]:
    problems = [problem.as_dict() for problem in error.problems]
    return {"type": "GraphInvalid", "message": str(error), "problems": problems}
