"""`condition`: a CEL expression that decides which edges are taken."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.exceptions import Permanent
from runtime.nodes.base import Node
from runtime.outcomes import Completed, Outcome

if TYPE_CHECKING:
    from runtime.context import Context
    from runtime.models import Step


class ConditionNode(Node):
    kind = "condition"

    def run(self, step: Step, context: Context) -> Outcome:
        value = context.condition(step.config["if"])
        if not isinstance(value, bool):
            raise Permanent(f"{step.config['if']!r} gave {value!r}: a condition must give true or false.")
        return Completed(value, branch="true" if value else "false")
