"""`map`: a sub-graph for each item. Results come in item order; a policy says how many failures are too many."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from runtime import agents, scopes
from runtime.conf import settings
from runtime.exceptions import Permanent
from runtime.graph import GraphInvalid, Problem
from runtime.graph.kinds import bound_names, free_names
from runtime.nodes.base import Node
from runtime.outcomes import Completed, Expand, Failed, Outcome

if TYPE_CHECKING:
    from runtime.context import Context
    from runtime.models import Step


class MapNode(Node):
    kind = "map"

    def validate(self, config: Mapping[str, Any]) -> Iterable[Problem]:
        body = config["graph"]
        try:
            agents.parse(body, outer=free_names(body, config) | bound_names(config))
        except GraphInvalid as error:
            return [problem.below("graph") for problem in error.problems]
        return ()

    def run(self, step: Step, context: Context) -> Outcome:
        if context.resume is None:
            return self._begin(step, context)
        return self._collect(step, context)

    def _begin(self, step: Step, context: Context) -> Outcome:
        config = step.config
        items = context.evaluate(config["items"])
        if not isinstance(items, list):
            raise Permanent(f"items of {step.key!r} gave {type(items).__name__}: a map needs a list.")
        if not items:
            return Completed(_told([], config))
        graph = agents.parse(config["graph"], outer=context.names.keys() | bound_names(config))
        if len(items) * len(graph.keys) > settings().max_nodes:
            raise Permanent(
                f"{step.key!r} would make {len(items)} × {len(graph.keys)} steps; the limit is {settings().max_nodes}."
            )
        name = config.get("as", "item")
        bindings = [{**context.bindings, name: item, "index": index} for index, item in enumerate(items)]
        tolerate, enough = thresholds(config.get("completion"), len(items))
        return Expand(
            graph, bindings, max_parallel=config.get("max_parallel"), tolerate=tolerate, enough=enough
        )

    def _collect(self, step: Step, context: Context) -> Outcome:
        ended = scopes.ended(step, context)
        good = sum(scope.status == "completed" for scope in ended)
        failed = sum(scope.status == "failed" for scope in ended)
        tolerate, enough = thresholds(step.config.get("completion"), len(ended))
        if (tolerate is not None and failed > tolerate) or (enough is not None and good < enough):
            first = next((scope for scope in ended if scope.error), None)
            told = f"{failed} of {len(ended)} items failed, {good} completed"
            error = {"type": "MapFailed", "message": told}
            return Failed({**error, "cause": first.error, "index": first.index} if first else error)
        return Completed(_told(ended, step.config))


def thresholds(completion: Mapping[str, Any] | None, items: int) -> tuple[int | None, int | None]:
    """How many failures are tolerated, and how many successes are enough; None is "any number".

    Without a policy the first failure is one too many. A percentage tolerates as many failures as do not
    exceed it: 10 % of 25 items are 2.
    """
    if not completion:
        return 0, None
    tolerated = [completion["tolerated_failures"]] if "tolerated_failures" in completion else []
    if "tolerated_percentage" in completion:
        # Rounded first: 7 % of 100 items is 7, also where the product is 7.000000000000001.
        tolerated.append(math.floor(round(items * completion["tolerated_percentage"] / 100, 9)))
    enough = completion.get("min_successful")
    if not tolerated:
        return (items - enough if enough is not None else 0), enough
    return min(tolerated), enough


def _told(ended: list[scopes.Ended], config: Mapping[str, Any]) -> Any:
    """A list of results; with a completion policy also what became of those that have none."""
    results = [scope.result for scope in ended]
    if "completion" not in config:
        return results
    return {
        "results": results,
        "errors": [{"index": scope.index, "error": scope.error} for scope in ended if scope.error],
        "completed": sum(scope.status == "completed" for scope in ended),
        "failed": sum(scope.status == "failed" for scope in ended),
        "cancelled": sum(scope.status == "cancelled" for scope in ended),
    }
