"""manage.py graph: check a TaskGraph, or print an agent's."""

import json
from argparse import ArgumentParser
from typing import Any

from rich.console import RenderableType

from runtime import agents
from runtime.graph import GraphInvalid
from runtime.management.base import AetherisCommand, value_of


class Command(AetherisCommand):
    help = "Checks a TaskGraph in JSON and names every fault with its place, or prints the graph of an agent."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("action", choices=("check", "print"), help="check FILE, or print AGENT")
        parser.add_argument(
            "what", metavar="FILE|AGENT", help="a file (- for standard input), or an agent's name"
        )

    def answer(self, *, action: str, what: str, **options: Any) -> dict[str, Any]:
        if action == "print":
            return agents.get(what).graph.to_json()
        try:
            graph = agents.parse(value_of(what if what == "-" else f"@{what}", "graph"))
        except GraphInvalid as invalid:
            return {
                "nodes": None,
                "digest": None,
                "problems": [problem.as_dict() for problem in invalid.problems],
            }
        return {"nodes": len(graph.keys), "digest": graph.digest, "problems": []}

    def text(self, answer: dict[str, Any]) -> RenderableType:
        if "problems" not in answer:
            return json.dumps(answer, indent=2, ensure_ascii=False)
        if answer["problems"]:
            return "\n".join(_line(problem) for problem in answer["problems"])
        return f"This graph can run: {answer['nodes']} nodes, digest {answer['digest']}."

    def complaint(self, answer: dict[str, Any]) -> str:
        return "This graph cannot run." if answer.get("problems") else ""


def _line(problem: dict[str, str]) -> str:
    hint = f" ({problem['hint']})" if problem["hint"] else ""
    return f"{problem['path'] or 'graph'}: {problem['message']}{hint}"
