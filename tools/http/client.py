"""An HTTP client for tools: it says of every failure whether anything can have happened.

It sends the call's idempotency key, ends before the step does, reaches public addresses only unless told
otherwise, and follows redirects of reads alone. It keeps no cookies, no connections and no proxies.
"""

import ssl
import time
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any

import httpcore
import httpx

from tools.errors import NotSent, Refused, ToolError
from tools.http import outcomes
from tools.http.line import Line
from tools.http.outcomes import OutcomeUnknown
from tools.http.reach import Forbidden, Reach
from tools.tool import ToolContext

READS = frozenset({"GET", "HEAD", "OPTIONS"})
REDIRECTS = frozenset({301, 302, 303, 307, 308})
MAX_REDIRECTS = 5
TIME_TO_RECORD = 0.25
"""Seconds that a call leaves its step for writing down what came of it."""


class HttpClient:
    """Requests to one service, `base_url`, or to any that `reach` allows.

    `internal` lists hosts and networks that are not public and may be reached all the same. `also_refused` adds
    status codes with which this service documents that it did nothing. `key_header` names the header that
    carries the idempotency key.
    """

    def __init__(
        self,
        base_url: str = "",
        *,
        headers: Mapping[str, str] | None = None,
        timeout: float = 30.0,
        max_bytes: int = 1_000_000,
        hosts: Collection[str] | None = None,
        internal: Collection[str] = (),
        also_refused: Collection[int] = (),
        key_header: str = "Idempotency-Key",
        reach: Reach | None = None,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self.base_url = httpx.URL(base_url.rstrip("/"))
        self.headers = dict(headers or {})
        self.timeout = timeout
        self.max_bytes = max_bytes
        self.also_refused = frozenset(also_refused)
        self.key_header = key_header
        self.reach = reach or Reach(hosts, internal)
        self.ssl_context = ssl_context

    def get(self, context: ToolContext | None, url: str, **options: Any) -> Any:
        """Read; the body of the answer. Options: `params`, `headers`."""
        return self.request(context, "GET", url, **options)

    def post(self, context: ToolContext | None, url: str, **options: Any) -> Any:
        """Act; the body of the answer. Options: `json`, `data`, `files`, `content`, `params`, `headers`."""
        return self.request(context, "POST", url, **options)

    def put(self, context: ToolContext | None, url: str, **options: Any) -> Any:
        return self.request(context, "PUT", url, **options)

    def patch(self, context: ToolContext | None, url: str, **options: Any) -> Any:
        return self.request(context, "PATCH", url, **options)

    def delete(self, context: ToolContext | None, url: str, **options: Any) -> Any:
        return self.request(context, "DELETE", url, **options)

    def request(self, context: ToolContext | None, method: str, url: str, **options: Any) -> Any:
        """The body of the answer: JSON where the service says so, else text, None when empty."""
        return outcomes.result(self.send(context, method, url, **options))

    def send(self, context: ToolContext | None, method: str, url: str, **options: Any) -> httpx.Response:
        """The whole answer of a call that happened.

        `NotSent` and `Refused` say that nothing happened, `OutcomeUnknown` that it may have. In a verify hook,
        which has no context, `None` stands for it.
        """
        answer, cut = self._answer(context, method.upper(), url, options)
        return outcomes.judge(answer, cut, datetime.now(UTC), self.also_refused)

    def read(self, context: ToolContext | None, method: str, url: str, **options: Any) -> httpx.Response:
        """The whole answer of a read, whatever its status, unless asking again may get another one: `NotSent`."""
        answer, cut = self._answer(context, method.upper(), url, options)
        return outcomes.final(answer, cut, datetime.now(UTC))

    def _answer(
        self, context: ToolContext | None, method: str, url: str, options: dict[str, Any]
    ) -> tuple[httpx.Response, Exception | None]:
        deadline = self._deadline(context)
        request = self._request(context, method, url, options)
        for _ in range(MAX_REDIRECTS + 1):
            answer, cut = self._exchange(context, request, deadline)
            if request.method not in READS or answer.status_code not in REDIRECTS:
                return answer, cut
            request = self._redirected(request, answer)
        raise Refused(f"{request.url.host} redirects more than {MAX_REDIRECTS} times")

    def _deadline(self, context: ToolContext | None) -> float:
        left = self.timeout if context is None else context.remaining_seconds - TIME_TO_RECORD
        if left <= 0:
            raise NotSent("the step has no time left for a request")
        return time.monotonic() + min(self.timeout, left)

    def _request(
        self, context: ToolContext | None, method: str, url: str, options: dict[str, Any]
    ) -> httpx.Request:
        headers = httpx.Headers({"Accept": "application/json, */*;q=0.5", "User-Agent": "aetheris"})
        headers.update(self.headers)
        headers.update(options.pop("headers", None))
        headers["Accept-Encoding"] = "gzip"
        headers["Connection"] = "close"
        if context is not None and method not in READS:
            headers[self.key_header] = context.idempotency_key
        try:
            return httpx.Request(method, self._url(url), headers=headers, **options)
        except (httpx.InvalidURL, TypeError, ValueError) as error:
            raise Refused(f"{method} {url} cannot be asked for: {error}") from error

    def _url(self, url: str) -> httpx.URL:
        base = self.base_url
        if not base.host:
            return httpx.URL(url)
        if not url.startswith("/"):
            raise Forbidden(url, f"paths at {base} begin with a slash")
        whole = httpx.URL(f"{base}{url}")
        # Dots in the path are resolved by now, and must not lead out of the part that was given to this client.
        if (whole.scheme, whole.netloc) != (base.scheme, base.netloc) or not f"{whole.path}/".startswith(
            f"{base.path.rstrip('/')}/"
        ):
            raise Forbidden(whole, f"it is not below {base}")
        return whole

    def _exchange(
        self, context: ToolContext | None, request: httpx.Request, deadline: float
    ) -> tuple[httpx.Response, Exception | None]:
        ssl_context = self.ssl_context or _trusted_authorities()
        line = Line(self.reach, deadline, ssl_context, lambda: context is not None and context.cancelled)
        target = f"{request.method} {request.url.copy_with(query=None)}"
        try:
            return line.carry(request, self.max_bytes)
        except ToolError:
            raise
        except Exception as error:
            told = f"{type(error).__name__}: {error}"
            if line.sent:
                raise OutcomeUnknown(f"{target} was sent, and then: {told}") from error
            if isinstance(error, httpcore.LocalProtocolError):
                raise Refused(f"{target} cannot be written: {told}") from error
            raise NotSent(f"{target}: the service cannot be reached: {told}") from error

    def _redirected(self, request: httpx.Request, answer: httpx.Response) -> httpx.Request:
        try:
            url = request.url.join(answer.headers.get("location", ""))
        except httpx.InvalidURL as error:
            raise Refused(f"{request.url.host} redirects to no address: {error}") from error
        if request.url.scheme == "https" and url.scheme != "https":
            raise Forbidden(url, f"{request.url.host} redirects from https to something less")
        same = (url.scheme, url.netloc) == (request.url.scheme, request.url.netloc)
        # Credentials are for the service that they were given for.
        kept = {"accept", "accept-encoding", "connection", "user-agent"}
        headers = {name: value for name, value in request.headers.items() if same or name in kept}
        headers.pop("host", None)
        return httpx.Request(request.method, url, headers=headers)


@cache
def _trusted_authorities() -> ssl.SSLContext:
    return httpx.create_ssl_context()
