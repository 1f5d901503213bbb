"""What became of the scopes that a step expanded into."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from runtime import blobs, rows
from runtime.models import Scope, Step
from runtime.outages import wait_out

if TYPE_CHECKING:
    from runtime.context import Context


@dataclass(frozen=True)
class Ended:
    """One scope that has ended."""

    index: int
    status: str
    result: Any
    error: dict[str, Any] | None


def ended(owner: Step, context: Context) -> list[Ended]:
    """The scopes of a step, in item order, with the value of the sub-graph's result template."""
    scopes, results = wait_out(lambda: _read(owner))
    return [_ended(scope, {**context.names, **scope.bindings, **results[scope.pk]}) for scope in scopes]


def _read(owner: Step) -> tuple[list[Scope], dict[int, dict[str, Any]]]:
    scopes = list(Scope.objects.filter(owner=owner).order_by("index"))
    return scopes, _results(owner, scopes)


def _ended(scope: Scope, names: dict[str, Any]) -> Ended:
    result = rows.evaluate(scope.result_template, names) if scope.status == "completed" else None
    return Ended(scope.index, scope.status, result, scope.error)


def _results(owner: Step, scopes: list[Scope]) -> dict[int, dict[str, Any]]:
    """By scope, the results that its result template speaks of: one query for all."""
    wanted = set().union(*(rows.references(scope.result_template) for scope in scopes[:1]))
    found: dict[int, dict[str, Any]] = defaultdict(dict)
    keys = {f"{scope.prefix}{name}": (scope.pk, name) for scope in scopes for name in wanted}
    steps = (
        Step.objects.filter(scope__in=scopes, key__in=keys)
        if len(scopes) == 1
        else Step.objects.filter(scope__owner=owner)
    )
    results = {
        keys[key]: result for key, result in steps.values_list("key", "result").iterator() if key in keys
    }
    for (scope, name), result in blobs.all_whole(owner.tenant, results).items():
        found[scope][name] = result
    return found
