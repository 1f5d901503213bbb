"""What every view shares: who may ask, how bodies are read, and how errors are told."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any
from uuid import UUID

from django.db.models import Model
from rest_framework.authentication import BaseAuthentication, SessionAuthentication, TokenAuthentication
from rest_framework.exceptions import NotFound, PermissionDenied
from rest_framework.pagination import CursorPagination
from rest_framework.parsers import BaseParser
from rest_framework.permissions import BasePermission, IsAuthenticated
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import Serializer
from rest_framework.views import APIView

from runtime import permissions
from runtime.api import problems
from runtime.api.parsers import StrictJSONParser
from runtime.exceptions import InputInvalid
from runtime.models import Job

PAYLOADS = ("input", "result", "error", "head", "request_digest")


class View(APIView):
    authentication_classes: Sequence[type[BaseAuthentication]] = (TokenAuthentication, SessionAuthentication)
    permission_classes: Sequence[type[BasePermission]] = [IsAuthenticated]
    parser_classes: Sequence[type[BaseParser]] = (StrictJSONParser,)
    renderer_classes: Sequence[type[BaseRenderer]] = (JSONRenderer,)

    def get_exception_handler(self) -> Callable[[Exception, dict[str, Any]], Response | None]:
        return problems.handle


class NewestFirst(CursorPagination):
    ordering = "-id"
    page_size = 50
    page_size_query_param = "limit"
    max_page_size = 200

    def page_of(self, queryset: Any, request: Request, view: APIView, serialize: Any) -> Response:
        try:
            rows: list[Model] = self.paginate_queryset(queryset, request, view=view) or []
        except ValueError as error:  # a cursor that somebody made up
            raise NotFound(self.invalid_cursor_message) from error
        return self.get_paginated_response(serialize(rows))


def checked(serializer: type[Serializer[Any]], request: Request) -> dict[str, Any]:
    """The body as the serializer reads it; raises `ValidationError` with every field at fault."""
    read = serializer(data=request.data)
    read.is_valid(raise_exception=True)
    return dict(read.validated_data)


def require(request: Request, permission: str) -> None:
    if not request.user.has_perm(permission):
        raise PermissionDenied(f"Your account lacks the permission {permission}.")


def job_of(request: Request, job_id: UUID, *, without: Iterable[str] = PAYLOADS) -> Job:
    """The job, without columns that may be large and that most views have no use for."""
    return permissions.visible_job(request.user, job_id, without=without)


def number(request: Request, name: str, default: int, most: int) -> int:
    """A whole number of the query string, between 0 and `most`."""
    text = request.query_params.get(name, str(default))
    if not (text.isascii() and text.isdecimal()) or len(text) > 18:
        raise InputInvalid(name, f"must be a whole number, not {text[:40]!r}")
    return min(int(text), most)


def uuid_of(text: str, name: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise InputInvalid(name, f"must be a UUID, not {text[:40]!r}") from None
