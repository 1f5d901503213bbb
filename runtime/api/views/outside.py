"""Where the outside tells how calls ended. Neither takes a user: a signature or a token says who speaks."""

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response

from runtime import callbacks, webhooks
from runtime.api import serializers
from runtime.api.parsers import RawParser
from runtime.api.views.base import View


class Public(View):
    authentication_classes = ()
    permission_classes = [AllowAny]


class Webhooks(Public):
    parser_classes = (RawParser,)

    @extend_schema(
        operation_id="webhooks_receive",
        auth=[],
        request={"application/json": OpenApiTypes.ANY},
        responses=serializers.WebhookAnswer,
    )
    def post(self, request: Request, provider: str) -> Response:
        """An event of a declared provider, signed as that provider signs. The same event twice has one effect."""
        body: Any = request.data
        headers = {name.lower(): value for name, value in request.headers.items()}
        kept = webhooks.receive(provider, headers, body if isinstance(body, bytes) else b"")
        return Response(serializers.WebhookAnswer({"event": kept.event_id}).data)


class Callbacks(Public):
    @extend_schema(
        operation_id="callbacks_answer",
        auth=[],
        request={"application/json": OpenApiTypes.ANY},
        responses=serializers.CallbackAnswer,
    )
    def post(self, request: Request, token: str) -> Response:
        """How the call ended to which the token is bound. The first answer counts; another one changes nothing."""
        entry = callbacks.answer(callbacks.entry_of(token), request.data)
        return Response(serializers.CallbackAnswer(entry).data)
