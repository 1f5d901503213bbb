"""manage.py agents: what can be submitted, and how the failures of its steps are answered."""

from argparse import ArgumentParser
from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import RenderableType

from runtime import agents, policies
from runtime.graph import GraphInvalid
from runtime.graph.kinds import sub_graph
from runtime.management.base import AetherisCommand
from runtime.management.shapes import table


class Command(AetherisCommand):
    help = "Lists the agents of the installed apps. One whose graph cannot run is named with its faults."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--policy",
            nargs="?",
            const="",
            metavar="AGENT",
            help="how failures of each step are answered, and who says so; of one agent or of all",
        )

    def answer(self, **options: Any) -> dict[str, Any]:
        if options["policy"] is None:
            return {"agents": [_as_json(agent) for _, agent in sorted(agents.registered().items())]}
        wanted = [agents.get(options["policy"])] if options["policy"] else [*agents.registered().values()]
        return {"policies": [_policies(agent) for agent in sorted(wanted, key=lambda agent: agent.name)]}

    def text(self, answer: dict[str, Any]) -> RenderableType:
        if "policies" in answer:
            return table(("agent", "step", "policy", "value", "from"), list(_lines(answer["policies"])))
        if not answer["agents"]:
            return "No agent is registered. `manage.py startagent NAME` makes one; AETHERIS_APPS names such apps."
        return table(("agent", "version", "nodes", ""), [_line(agent) for agent in answer["agents"]])

    def complaint(self, answer: dict[str, Any]) -> str:
        found = answer.get("policies", answer.get("agents", []))
        broken = [agent["name"] for agent in found if agent["error"]]
        return f"These cannot run: {', '.join(broken)}." if broken else ""


def _as_json(agent: agents.Agent) -> dict[str, Any]:
    about: dict[str, Any] = {"name": agent.name, "version": agent.version, "description": agent.description}
    about["versions"] = agents.versions(agent.name)
    try:
        graph = agent.graph
    except GraphInvalid as error:
        return about | {"nodes": None, "graph_digest": None, "error": str(error)}
    return about | {"nodes": len(graph.keys), "graph_digest": graph.digest, "error": ""}


def _line(agent: dict[str, Any]) -> tuple[Any, ...]:
    versions = ", ".join(reversed(agent["versions"]))  # the first one is what new jobs get
    return agent["name"], versions, agent["nodes"], agent["error"] or agent["description"].split("\n")[0]


def _policies(agent: agents.Agent) -> dict[str, Any]:
    about: dict[str, Any] = {"name": agent.name, "version": agent.version, "steps": {}, "error": ""}
    try:
        graph = agent.graph.to_json()
    except GraphInvalid as error:
        return about | {"error": str(error)}
    for key, node in _nodes(graph):
        resolved = policies.resolve(node, agent.policy)
        about["steps"][key] = {
            name: {"value": each.value, "from": each.source} for name, each in resolved.items()
        }
    return about


def _nodes(graph: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every node, those of the graphs inside of maps too."""
    for node in graph["nodes"]:
        yield prefix + node["id"], node
        if body := sub_graph(node):
            yield from _nodes(body, f"{prefix}{node['id']}[].")


def _lines(found: list[dict[str, Any]]) -> Iterator[tuple[Any, ...]]:
    """What somebody says; a step of which nobody says anything has one line."""
    for agent in found:
        for key, resolved in agent["steps"].items():
            said = {name: each for name, each in resolved.items() if each["from"] != "settings"}
            for name, each in said.items():
                yield agent["name"], key, name, each["value"], each["from"]
            rest = {name: each["value"] for name, each in resolved.items() if name not in said}
            told = ", ".join(f"{name} {value}" for name, value in rest.items() if value not in (None, []))
            yield agent["name"], key, "the rest" if said else "all", told, "settings"
