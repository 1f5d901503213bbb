"""`function`: a registered Python step, plain or async."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime import agents, contract
from runtime.conf import settings
from runtime.coroutines import awaited
from runtime.nodes.base import Node
from runtime.outcomes import Completed, Failed, Outcome, Retry, Waiting

if TYPE_CHECKING:
    from runtime.context import Context
    from runtime.models import Step


class FunctionNode(Node):
    kind = "function"

    def run(self, step: Step, context: Context) -> Outcome:
        function = agents.function(step.config["function"])
        if function.strict or settings().strict_steps:
            broken = contract.violation(function)
            if broken is not None:
                return Failed(broken.as_json())
        inputs = context.evaluate(step.config.get("inputs", {}))
        result = awaited(function(context, **inputs), context)
        return result if isinstance(result, Completed | Retry | Failed | Waiting) else Completed(result)
