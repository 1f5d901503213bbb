"""Whether a graph can run: counts first, then nodes, edges, order, references, and what the kinds say.

Every stage is linear in the size of the graph and looks only at what the stages before it let pass.
"""

from dataclasses import dataclass
from typing import Any

from runtime.graph.edge_checks import find_order, look_at_edges, look_at_joins
from runtime.graph.fields import COMPENSATE
from runtime.graph.limits import Limits, count, look_at_values
from runtime.graph.node_checks import Registered, ask_kinds, look_at_nodes
from runtime.graph.problems import Report
from runtime.graph.reference_checks import References


@dataclass(frozen=True)
class Checked:
    """What the checks learned of a good graph: an order of its ids, and what each refers to."""

    order: list[str]
    references: dict[str, set[str]]


def check(data: Any, registered: Registered, limits: Limits) -> Checked:
    """Raises GraphInvalid with the problems of the first stage that has any."""
    report = Report()
    count(data, limits, report)
    report.settle()
    _look_at_compensate(data, report, is_inner=registered.is_inner)
    look_at_values(data, limits, report)
    report.settle()
    nodes: list[dict[str, Any]] = data["nodes"]
    numbers = look_at_nodes(nodes, registered, report)
    report.settle()
    kind_of = {node["id"]: node["kind"] for node in nodes}
    links = look_at_edges(data.get("edges", []), kind_of, registered.kinds, report)
    report.settle()
    look_at_joins(nodes, links, report)
    order = find_order(numbers, links, report)
    report.settle()
    references = References(numbers, registered.outer, limits, report)
    references.look_at(data, registered.kinds, links, order)
    report.settle()
    ask_kinds(nodes, registered.kinds, report)
    report.settle()
    return Checked(order, references.names)


def _look_at_compensate(data: dict[str, Any], report: Report, *, is_inner: bool) -> None:
    """When the job is undone: the word of its own graph, which the graphs within it cannot change."""
    if "compensate" not in data:
        return
    if is_inner:
        message = "a graph inside a job's graph cannot say when the job is compensated"
        report.add("compensate", "not_here", message, "say it in the job's own graph")
    elif wrong := COMPENSATE.check(data["compensate"]):
        report.add("compensate", "bad_value", wrong)
