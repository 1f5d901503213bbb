"""The API's description: every operation, and the problem document that each may answer with."""

from typing import Any

from drf_spectacular.utils import extend_schema
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response

from runtime.api.problems import MEDIA_TYPE

METHODS = ("get", "post", "put", "patch", "delete")
DOCS_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""Swagger UI styles itself inline; run data is not shown there unless its reader asks for it."""


class Schema(SpectacularAPIView):
    permission_classes = [AllowAny]


class Docs(SpectacularSwaggerSplitView):
    permission_classes = [AllowAny]
    url_name = "api:schema"
    url_self = None

    @extend_schema(exclude=True)
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        response: Response = super().get(request, *args, **kwargs)  # type: ignore[no-untyped-call]
        response["Content-Security-Policy"] = DOCS_POLICY
        return response


def add_problems(result: dict[str, Any], generator: Any, request: Any, public: bool) -> dict[str, Any]:
    """Every operation may answer with a problem document instead."""
    result["components"]["schemas"]["Problem"] = PROBLEM
    answer = {
        "description": "A problem document.",
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    for operations in result["paths"].values():
        for method in METHODS:
            if method in operations:
                operations[method]["responses"]["default"] = answer
    return result


_TEXT = {"type": "string"}
PROBLEM: dict[str, Any] = {
    "type": "object",
    "description": "RFC 9457.",
    "required": ["type", "title", "status", "detail", "instance", "remedy"],
    "properties": {
        "type": {**_TEXT, "description": "Address of the kind of problem; stable."},
        "title": _TEXT,
        "status": {"type": "integer"},
        "detail": _TEXT,
        "instance": {**_TEXT, "description": "The address that was asked."},
        "remedy": {**_TEXT, "description": "What to do about it."},
        "errors": {
            "type": "array",
            "description": "The places at fault.",
            "items": {
                "type": "object",
                "required": ["field", "code", "detail"],
                "properties": {"field": _TEXT, "code": _TEXT, "detail": _TEXT, "hint": _TEXT},
            },
        },
    },
}
