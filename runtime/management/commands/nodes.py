"""manage.py nodes: what a graph can be made of."""

import inspect
from typing import Any

from rich.console import Group, RenderableType

import tools
from runtime import agents, nodes
from runtime.management.base import AetherisCommand
from runtime.management.shapes import table


class Command(AetherisCommand):
    help = "Lists the kinds of nodes, and the tools and step functions that they can name."

    def answer(self, **options: Any) -> dict[str, Any]:
        return {
            "kinds": [_kind(node) for _, node in sorted(nodes.registered().items())],
            "tools": [_tool(tool) for _, tool in sorted(tools.registered().items())],
            "functions": [_function(function) for _, function in sorted(agents.functions().items())],
        }

    def text(self, answer: dict[str, Any]) -> RenderableType:
        return Group(
            table(("kind", ""), [(kind["kind"], kind["description"]) for kind in answer["kinds"]]),
            "",
            table(
                ("tool", "arguments", "when in doubt", ""),
                [
                    (tool["name"], ", ".join(tool["arguments"].get("properties", {})), tool["in_doubt"],
                     tool["description"].split("\n")[0])
                    for tool in answer["tools"]
                ],
            ),
            "",
            table(
                ("function", ""),
                [(each["name"], each["description"].split("\n")[0]) for each in answer["functions"]],
            ),
        )  # fmt: skip


def _kind(node: nodes.Node) -> dict[str, Any]:
    module = inspect.getmodule(type(node))
    about = inspect.getdoc(type(node)) if type(node).__doc__ else (module.__doc__ if module else "")
    return {"kind": node.kind, "description": (about or "").strip().split("\n")[0]}


def _tool(tool: tools.Tool) -> dict[str, Any]:
    return {
        "name": tool.name, "version": tool.version, "description": tool.description, "where": tool.where,
        "arguments": tool.arguments_schema, "read_only": tool.policy.read_only, "idempotent": tool.policy.idempotent,
        "timeout": tool.policy.timeout, "in_doubt": _in_doubt(tool),
    }  # fmt: skip


def _in_doubt(tool: tools.Tool) -> str:
    """What happens with a call of which nobody knows whether it happened."""
    if tool.verify is not None:
        return "verify tells"
    if tool.policy.read_only:
        return "read again"
    if tool.policy.idempotent:
        return "sent again, with its key"
    return "a person decides"


def _function(function: agents.StepFunction) -> dict[str, Any]:
    return {"name": function.name, "description": inspect.getdoc(function.function) or ""}
