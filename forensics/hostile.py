"""Run data is hostile: models, tools and strangers wrote it. Templates escape it; this is what escaping leaves.

Characters that change how text around them is read, or that nobody sees, are shown by their number on every
page, the admin's included. And no page may load, send or run anything that is not served from here.
"""

import re
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)

HIDDEN = re.compile(
    "["
    "\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f"  # controls, but for tab and line ends
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\uffa0"  # shown as nothing
    "\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"  # zero width, bidirectional, interlinear
    "\U000e0000-\U000e0fff"  # tags
    "]"
)


def shown(text: str) -> str:
    """The text with what hides in it made visible: `\u202e` becomes ⟦U+202E⟧."""
    return HIDDEN.sub(lambda found: f"⟦U+{ord(found.group()):04X}⟧", text)


class HostileData:
    """Middleware, outermost: it sees every answer."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        response.headers.setdefault("Content-Security-Policy", POLICY)
        if isinstance(response, HttpResponse) and response.get("Content-Type", "").startswith("text/html"):
            _show_hidden(response)
        return response


def _show_hidden(response: HttpResponse) -> None:
    text = response.content.decode(response.charset)
    if HIDDEN.search(text):
        response.content = shown(text).encode(response.charset)
        if response.has_header("Content-Length"):
            response.headers["Content-Length"] = str(len(response.content))
