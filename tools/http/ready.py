"""A ready tool: one HTTP request, to hosts that are listed beforehand."""

from collections.abc import Collection, Mapping
from typing import Any

from tools.errors import Refused
from tools.http import outcomes
from tools.http.client import READS, HttpClient
from tools.http.reach import Forbidden
from tools.tool import Tool, ToolContext, tool

OURS = frozenset(
    {
        "host",
        "connection",
        "content-length",
        "transfer-encoding",
        "te",
        "trailer",
        "upgrade",
        "keep-alive",
        "expect",
        "cookie",
        "proxy-authorization",
        "proxy-connection",
        "accept-encoding",
    }
)
"""Headers that frame or route the request; a caller who could set them could send another one."""


def http_tool(
    name: str = "http_request",
    *,
    hosts: Collection[str],
    methods: Collection[str] = ("GET",),
    headers: Mapping[str, str] | None = None,
    internal: Collection[str] = (),
    timeout: float = 30.0,
    max_bytes: int = 200_000,
    also_refused: Collection[int] = (),
    key_header: str = "Idempotency-Key",
    **policy: Any,
) -> Tool:
    """Register a tool that makes one request and answers `{status, headers, body}`.

    `hosts` are the only ones it talks to; `*.example.com` stands for all below. `headers` are sent with every
    request and cannot be replaced by a caller. `policy` is what `@tool` takes; reads alone are `read_only`.
    """
    if not hosts:
        raise ValueError(f"tool {name!r}: list the hosts that it may talk to")
    allowed = frozenset(method.upper() for method in methods)
    policy.setdefault("read_only", allowed <= READS)
    client = HttpClient(
        headers=headers,
        timeout=timeout,
        max_bytes=max_bytes,
        hosts=hosts,
        internal=internal,
        also_refused=also_refused,
        key_header=key_header,
    )
    kept = OURS | {key_header.lower()} | {header.lower() for header in client.headers}

    def http_request(
        context: ToolContext,
        url: str,
        method: str = "GET",
        body: Any = None,
        headers: dict[str, str] | None = None,
    ) -> dict[str, Any]:
        """Make one HTTP request. `body` is sent as JSON."""
        if method.upper() not in allowed:
            raise Refused(f"{name} makes {', '.join(sorted(allowed))} requests only, not {method!r}")
        if taken := sorted(kept & {header.lower() for header in headers or {}}):
            raise Forbidden(url, f"{name} sets {', '.join(taken)} itself")
        content = {} if body is None else {"json": body}
        answer = client.send(context, method, url, headers=headers, **content)
        return {
            "status": answer.status_code,
            "headers": {
                key: answer.headers[key]
                for key in ("content-type", "location", "etag")
                if key in answer.headers
            },
            "body": outcomes.result(answer),
        }

    return tool(name=name, timeout=timeout, **policy)(http_request)
