"""`function`: a registered Python step, plain or async."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any

from runtime import agents, contract
from runtime.conf import settings
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
        result = function(context, **inputs)
        if inspect.isawaitable(result):
            result = asyncio.run(_awaited(result))
        return result if isinstance(result, Completed | Retry | Failed | Waiting) else Completed(result)


async def _awaited(result: Any) -> Any:
    return await result
