"""manage.py agents: what can be submitted."""

from typing import Any

from rich.console import RenderableType

from runtime import agents
from runtime.graph import GraphInvalid
from runtime.management.base import AetherisCommand
from runtime.management.shapes import table


class Command(AetherisCommand):
    help = "Lists the agents of the installed apps. One whose graph cannot run is named with its faults."

    def answer(self, **options: Any) -> dict[str, Any]:
        return {"agents": [_as_json(agent) for _, agent in sorted(agents.registered().items())]}

    def text(self, answer: dict[str, Any]) -> RenderableType:
        if not answer["agents"]:
            return "No agent is registered. `manage.py startagent NAME` makes one; AETHERIS_APPS names such apps."
        return table(
            ("agent", "version", "nodes", ""),
            [
                (agent["name"], agent["version"], agent["nodes"], agent["error"] or agent["description"].split("\n")[0])
                for agent in answer["agents"]
            ],
        )  # fmt: skip

    def complaint(self, answer: dict[str, Any]) -> str:
        broken = [agent["name"] for agent in answer["agents"] if agent["error"]]
        return f"These cannot run: {', '.join(broken)}." if broken else ""


def _as_json(agent: agents.Agent) -> dict[str, Any]:
    about = {"name": agent.name, "version": agent.version, "description": agent.description}
    try:
        graph = agent.graph
    except GraphInvalid as error:
        return about | {"nodes": None, "graph_digest": None, "error": str(error)}
    return about | {"nodes": len(graph.keys), "graph_digest": graph.digest, "error": ""}
