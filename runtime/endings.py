"""What a step ended in, before it is recorded: a value that a row cannot hold fails the step and says which.

Steps and node kinds are other people's code. What they answer is checked here, so that recording it can only
fail for reasons that pass.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runtime import agents
from runtime.exceptions import Permanent
from runtime.graph import Graph, TaskGraph
from runtime.models import Step, Wait
from runtime.outcomes import CancelJob, Completed, Expand, Failed, Outcome, Retry, Waiting
from runtime.values import check, check_text

if TYPE_CHECKING:
    from runtime.context import Context

LONGEST_KEY: int = Step._meta.get_field("key").max_length or 0
LONGEST_BRANCH: int = Step._meta.get_field("branch").max_length or 0
LONGEST_WAIT: int = Wait._meta.get_field("name").max_length or 0
LONGEST_WAIT_KIND: int = Wait._meta.get_field("kind").max_length or 0


def checked(outcome: Outcome, step: Step, context: Context) -> Outcome:
    """The outcome as it can be recorded. Raises `InputInvalid`, `GraphInvalid` or `Permanent` where it cannot be."""
    match outcome:
        case Completed(result, branch, spawn):
            check(result, f"{step.key} result")
            check_text(branch, f"{step.key} branch", LONGEST_BRANCH)
            return Completed(result, branch, _spawned(spawn, step, context))
        case Retry(error) | Failed(error):
            _check_error(error, step)
        case Waiting():
            _check_wait(outcome, step)
        case Expand(graph, bindings):
            _check_copies(graph, bindings, step, indexed=outcome.indexed)
        case CancelJob(reason):
            check(reason, f"{step.key} reason")
        case _:
            raise Permanent(
                f"Step {step.key!r} of kind {step.kind!r} ended in {type(outcome).__name__}: "
                "`run` answers one of the outcomes of `runtime.outcomes`."
            )
    return outcome


def _spawned(spawn: Any, step: Step, context: Context) -> TaskGraph | None:
    """The steps to add, from whatever form the graph has."""
    if spawn is None:
        return None
    wire = spawn.build() if isinstance(spawn, Graph) else spawn
    graph = (
        wire if isinstance(wire, TaskGraph) else agents.parse(wire, outer=context.names.keys() - {"input"})
    )
    _check_keys(f"{step.key}.", graph)
    return graph


def _check_error(error: Any, step: Step) -> None:
    if not isinstance(error, dict):
        raise Permanent(
            f"Step {step.key!r} ended in an error that is {type(error).__name__}: it must be an object."
        )
    check(error, f"{step.key} error")


def _check_wait(waiting: Waiting, step: Step) -> None:
    check_text(waiting.kind, f"{step.key} wait.kind", LONGEST_WAIT_KIND)
    check_text(waiting.name, f"{step.key} wait.name", LONGEST_WAIT)
    for part in ("prompt", "schema", "approvers"):
        check(getattr(waiting, part), f"{step.key} wait.{part}")


def _check_copies(graph: TaskGraph, bindings: list[dict[str, Any]], step: Step, *, indexed: bool) -> None:
    if not bindings:
        raise Permanent(f"Step {step.key!r} expanded into no copy at all: complete it instead.")
    for number, names in enumerate(bindings):
        check(names, f"{step.key}[{number}]")
    _check_keys(f"{step.key}[{len(bindings) - 1}]." if indexed else f"{step.key}.", graph)


def _check_keys(prefix: str, graph: TaskGraph) -> None:
    longest = prefix + max(graph.keys, key=len)
    if len(longest) > LONGEST_KEY:
        raise Permanent(
            f"Step key {longest[:60]!r}… would have {len(longest)} characters; the limit is {LONGEST_KEY}. "
            "Use shorter ids, or nest less deep."
        )
