"""`wait`: the job waits for a signal; its payload is the result."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from runtime import schemas
from runtime.exceptions import Permanent
from runtime.graph import seconds
from runtime.nodes.base import Node
from runtime.outcomes import CancelJob, Completed, Failed, Outcome, Waiting
from runtime.signals import RESERVED

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runtime.context import Context
    from runtime.models import Step


class WaitNode(Node):
    kind = "wait"

    def run(self, step: Step, context: Context) -> Outcome:
        config = step.config
        if context.resume is None:
            name = str(context.evaluate(config["signal"]))
            if name.startswith(RESERVED):
                raise Permanent(f"{name!r} is a name of the runtime's own; no signal can bear it.")
            return Waiting(
                kind="signal",
                name=name,
                timeout=timedelta(seconds=seconds(config["timeout"])) if "timeout" in config else None,
            )
        if context.resume["outcome"] == "signalled":
            return _taken(context.resume["payload"], config)
        match config.get("on_timeout", "fail"):
            case {"value": value}:
                return Completed(context.evaluate(value), branch="timed_out")
            case "continue":
                return Completed(None, branch="timed_out")
            case "cancel":
                return CancelJob(f"no signal {config['signal']!r} came in time")
            case _:
                return Failed(
                    {"type": "WaitTimedOut", "message": f"no signal {config['signal']!r} came in time"}
                )


def _taken(payload: Any, config: Mapping[str, Any]) -> Outcome:
    if wrong := schemas.misfit(payload, config.get("schema", {})):
        where = f"{wrong.field}: " if wrong.field else ""
        told = f"the payload of signal {config['signal']!r} does not fit the schema: {where}{wrong.reason}"
        return Failed({"type": "SignalInvalid", "message": told})
    return Completed(payload)
