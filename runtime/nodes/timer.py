"""`timer`: the job waits for a time. No thread, no message: a row with a deadline."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from runtime.exceptions import Permanent
from runtime.graph import seconds
from runtime.nodes.base import Node
from runtime.outcomes import Completed, Outcome, Waiting

if TYPE_CHECKING:
    from runtime.context import Context
    from runtime.models import Step


class TimerNode(Node):
    kind = "timer"

    def run(self, step: Step, context: Context) -> Outcome:
        if context.resume is not None:
            return Completed()
        if "for" in step.config:
            duration = timedelta(seconds=seconds(step.config["for"]))
            return Waiting(kind="timer", name=step.key, timeout=duration)
        return Waiting(kind="timer", name=step.key, until=_moment(context.evaluate(step.config["until"])))


def _moment(text: object) -> datetime:
    """Without an offset it is UTC."""
    try:
        return datetime.fromisoformat(str(text))
    except ValueError as error:
        raise Permanent(f"{text!r} is not a moment: write it as 2027-01-31T09:00:00Z.") from error
