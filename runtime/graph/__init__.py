"""The TaskGraph: an agent's plan as nodes and edges, the same in JSON and in Python.

`Graph` builds one, `TaskGraph.parse` checks one from anywhere (a file, a planner, a model), and
`TaskGraph.plan` says which steps and edges to record. Nothing here touches the database.
"""

from runtime.graph.builder import Graph, Node
from runtime.graph.durations import seconds
from runtime.graph.kinds import Kind
from runtime.graph.problems import GraphInvalid, Problem
from runtime.graph.schema import json_schema
from runtime.graph.taskgraph import Plan, PlannedEdge, PlannedStep, TaskGraph

__all__ = [
    "Graph",
    "GraphInvalid",
    "Kind",
    "Node",
    "Plan",
    "PlannedEdge",
    "PlannedStep",
    "Problem",
    "TaskGraph",
    "json_schema",
    "seconds",
]
