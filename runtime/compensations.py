"""Compensation: when a job ends as failed or cancelled, what it did outside is undone, the last call first.

A tool, or the node that calls it, names another tool that undoes a call; the graph says when. Both are recorded
with the call, so that what was meant then is what is done later. The gate makes one step for each such call
(`runtime/sql/compensation.sql`) once nothing else of the job runs; `runtime.nodes.compensation` runs them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from django.apps import apps

import tools
from runtime import expressions
from runtime.expressions import ExpressionInvalid
from runtime.graph import Problem
from runtime.outcomes import Waiting

if TYPE_CHECKING:
    from runtime.models import LedgerEntry, Step

KIND = "compensation"
"""The kind of the steps that undo something. No graph can name it."""
ABANDONED = "abandoned"
"""The branch of such a step that a person ended without undoing anything."""
GIVEN_UP = {"outcome": "abandoned"}
"""What such a step is resumed with then."""
REFUSED = "refused"
"""The kind of wait in which it asks for a person."""
NAMES = frozenset({"arguments", "result", "input"})


def problems(compensation: Mapping[str, Any] | bool | None) -> Iterator[Problem]:
    """What is wrong with a declaration in wire form, where there is one."""
    if not isinstance(compensation, Mapping):
        return
    name, inputs = compensation["tool"], compensation.get("inputs", {})
    tool = tools.get(name)
    if tool is None:
        known = ", ".join(tools.names()[:20])
        yield Problem("tool", "unknown_tool", f"unknown tool {name!r}", f"known: {known}")
        return
    unreadable = list(_unreadable(inputs))
    yield from unreadable
    if not unreadable:
        open_inputs = {name for name, value in inputs.items() if expressions.references(value)}
        for path, message in tool.problems(inputs, unknown=open_inputs):
            yield Problem(f"inputs.{path}", "wrong_argument", message)


def _unreadable(inputs: Mapping[str, Any]) -> Iterator[Problem]:
    for path, text in expressions.texts(inputs, "inputs"):
        try:
            strange = expressions.references(text) - NAMES
        except ExpressionInvalid as error:
            yield Problem(path, "bad_expression", str(error))
            continue
        for name in sorted(strange):
            hint = f"known here: {', '.join(sorted(NAMES))}"
            yield Problem(path, "unknown_reference", f"there is no {name!r} to refer to", hint)


def entry_of(step: Step) -> LedgerEntry:
    """The call that a compensating step undoes, with its own step."""
    entries = apps.get_model("runtime", "LedgerEntry").objects
    return entries.select_related("step").get(undone_by=step)


def named(entry: LedgerEntry) -> dict[str, Any]:
    """The entry as a turn names it."""
    return {
        "step": entry.step_id,
        "key": entry.step.key,
        "call": entry.call,
        "generation": entry.generation,
    }


def for_a_person(step: Step, error: Mapping[str, Any]) -> Waiting:
    """What a compensating step ends an attempt in that trying again cannot mend: never in a failure."""
    told = f"{error.get('type', 'Failed')}: {error.get('message', '')}"
    return Waiting(kind=REFUSED, name=str(step.config["tool"]), prompt=told)


def waiting_for(step: Step) -> str:
    return f"{REFUSED}:{step.config['tool']}"
