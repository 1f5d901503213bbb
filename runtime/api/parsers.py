"""The only parser: strict JSON, refused at the edge where PostgreSQL or a proof could not hold it."""

from collections.abc import Mapping
from typing import IO, Any

from rest_framework.parsers import BaseParser

from runtime import strict_json
from runtime.conf import settings
from runtime.exceptions import InputInvalid

ENVELOPE_BYTES = 1024 * 1024
ENVELOPE_DEPTH = 4
"""What a request may hold around the largest and deepest value."""


class BodyTooLarge(InputInvalid):
    """The request body is over the limit; no more of it was read."""

    def __init__(self, limit: int) -> None:
        super().__init__("body", f"is larger than the limit of {limit} bytes")


class RawParser(BaseParser):
    """The body as it came: a signature is over its bytes."""

    media_type = "*/*"
    limit = 1024 * 1024

    def parse(
        self,
        stream: IO[bytes],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        body = stream.read(self.limit + 1)
        if len(body) > self.limit:
            raise BodyTooLarge(self.limit)
        return body


class StrictJSONParser(BaseParser):
    media_type = "application/json"

    def parse(
        self,
        stream: IO[bytes],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        limit = settings().max_value_bytes + ENVELOPE_BYTES
        body = stream.read(limit + 1)
        if len(body) > limit:
            raise BodyTooLarge(limit)
        try:
            return strict_json.loads(
                body or b"{}", max_bytes=limit, max_depth=settings().max_depth + ENVELOPE_DEPTH
            )
        except strict_json.InvalidValue as error:
            raise InputInvalid(error.path or "body", error.reason) from error
