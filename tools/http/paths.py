"""Paths made of values that come from elsewhere."""

from urllib.parse import quote

from tools.errors import Refused


def path(*segments: object) -> str:
    """`path("orders", order_id)` is `/orders/1001`: a value stays one segment, whatever it holds."""
    texts = [str(segment) for segment in segments]
    for text in texts:
        if text in ("", ".", ".."):
            raise Refused(f"{text!r} is no part of a path")
    return "".join(f"/{quote(text, safe='')}" for text in texts)
