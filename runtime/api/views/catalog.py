"""What can be run here: agents and tools; and the kinds of problems."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.exceptions import NotFound
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response

import tools
from runtime import agents
from runtime.api import problems, serializers
from runtime.api.views.base import View
from runtime.exceptions import AgentNotFound


class Agents(View):
    @extend_schema(operation_id="agents_list", responses=serializers.AgentSummary(many=True))
    def get(self, request: Request) -> Response:
        """The registered agents."""
        known = sorted(agents.registered().values(), key=lambda agent: agent.name)
        return Response(serializers.AgentSummary(known, many=True).data)


class OneAgent(View):
    @extend_schema(operation_id="agents_get", responses=serializers.AgentDetail)
    def get(self, request: Request, name: str) -> Response:
        """An agent with its graph."""
        try:
            agent = agents.get(name)
        except AgentNotFound as error:
            raise NotFound(str(error)) from error
        summary: dict[str, Any] = dict(serializers.AgentSummary(agent).data)
        return Response({**summary, "graph": agent.graph.to_json()})


class Tools(View):
    @extend_schema(operation_id="tools_list", responses=serializers.ToolSerializer(many=True))
    def get(self, request: Request) -> Response:
        """The registered tools, with the schema of their arguments and what a repeated call would mean."""
        known = [tool for _, tool in sorted(tools.registered().items())]
        return Response(serializers.ToolSerializer(known, many=True).data)


class Problem(View):
    permission_classes = [AllowAny]

    @extend_schema(operation_id="problems_get", responses=serializers.ProblemKind)
    def get(self, request: Request, slug: str) -> Response:
        """What a kind of problem means, and what to do about it."""
        kind = problems.KINDS.get(slug)
        if kind is None:
            raise NotFound(f"There is no kind of problem named {slug!r}.")
        return Response(serializers.ProblemKind(kind).data)


class Nowhere(View):
    """Every other address under the API, so that a wrong one is a problem document too."""

    permission_classes = [AllowAny]
    schema = None

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        raise NotFound(f"Nothing is at {request.path}. See /api/v1/docs/.")
