"""`subjob`: another agent as a job of its own, with its own trace. Cancelled with its parent unless abandoned."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from runtime import agents, subjobs
from runtime.graph import Problem
from runtime.nodes.base import Node
from runtime.outages import wait_out
from runtime.outcomes import Completed, Failed, Outcome, Waiting
from runtime.states import JobStatus

if TYPE_CHECKING:
    from runtime.context import Context
    from runtime.models import Step


class SubjobNode(Node):
    kind = "subjob"

    def validate(self, config: Mapping[str, Any]) -> Iterable[Problem]:
        if config["agent"] not in agents.registered():
            known = ", ".join(sorted(agents.registered()))
            yield Problem("agent", "unknown_agent", f"unknown agent {config['agent']!r}", f"known: {known}")

    def run(self, step: Step, context: Context) -> Outcome:
        given = context.evaluate(step.config.get("input"))
        return wait_out(lambda: self._look(step, context, given))  # each of its parts may be done again

    def _look(self, step: Step, context: Context, given: Any) -> Outcome:
        on_parent_end = step.config.get("on_parent_end", "cancel")
        child = subjobs.begin(step, step.config["agent"], given, on_parent_end=on_parent_end)
        subjobs.go_on(child, step)
        is_awaited = context.resume is None and not subjobs.is_told(child, step)
        if is_awaited or not child.is_finished:
            return Waiting(kind="subjob", name=subjobs.name_of(child))
        if child.status == JobStatus.COMPLETED:
            return Completed(child.result)
        told = f"subjob {child.pk} was {child.status}"
        return Failed({"type": "SubjobFailed", "message": told, "cause": child.error})
