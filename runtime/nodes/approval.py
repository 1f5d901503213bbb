"""`approval`: the job waits for a person, who approves or rejects in their own name."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from runtime.graph import seconds
from runtime.nodes.base import Node
from runtime.outcomes import CancelJob, Completed, Failed, Outcome, Waiting

if TYPE_CHECKING:
    from runtime.context import Context
    from runtime.models import Step


class ApprovalNode(Node):
    kind = "approval"

    def run(self, step: Step, context: Context) -> Outcome:
        if context.resume is None:
            return self._ask(step, context)
        if context.resume["outcome"] == "timed_out":
            return self._timed_out(step)
        decision = context.resume["payload"]
        return Completed(decision, branch=decision["decision"])

    def _ask(self, step: Step, context: Context) -> Outcome:
        config = step.config
        return Waiting(
            kind="approval",
            name=f"approval:{step.key}",
            timeout=timedelta(seconds=seconds(config["timeout"])) if "timeout" in config else None,
            prompt=str(context.evaluate(config["prompt"])),
            schema=config.get("schema", {}),
            approvers=context.evaluate(config.get("approvers", {})),
            event="approval_requested",
        )

    def _timed_out(self, step: Step) -> Outcome:
        match step.config.get("on_timeout", "fail"):
            case "reject":
                return Completed(
                    {"decision": "rejected", "by": None, "reason": "timed out"}, branch="rejected"
                )
            case "continue":
                return Completed({"decision": "timed_out", "by": None}, branch="timed_out")
            case "cancel":
                return CancelJob("nobody decided in time")
            case _:
                return Failed({"type": "ApprovalTimedOut", "message": "nobody decided in time"})
