"""What an answer says about the effect: it happened, nothing happened, or nobody can tell.

| Answer | The call |
|---|---|
| 2xx | happened; the body is the result |
| 400 401 403 404 405 410 413 415 422, 307 308 | was refused, for good |
| 425, 429, and 503 with `Retry-After` | was not taken up; may be made again later |
| 409 | is still being worked on, or was before: not known |
| anything else, or no whole answer | not known |
"""

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from tools.errors import NotSent, Refused
from tools.http import bodies

REFUSED = frozenset({400, 401, 403, 404, 405, 410, 413, 415, 422})
MOVED_WITHOUT_EFFECT = frozenset({307, 308})
"""The request has to be made elsewhere, and was not carried out here."""
LATER = frozenset({425, 429})
PASSING = LATER | {408}
LATER_IF_IT_SAYS_WHEN = 503
"""Without `Retry-After` it may come from a proxy that lost the service in the middle of the request."""
STILL_PROCESSING = 409

LONGEST_WAIT = timedelta(days=1)
SHOWN_TEXT = 500


class OutcomeUnknown(Exception):
    """The request left, and its answer does not tell whether it was carried out."""

    def __init__(self, what: str, *, status: int | None = None, retry_after: timedelta | None = None) -> None:
        super().__init__(what)
        self.status = status
        self.retry_after = retry_after


class StillProcessing(OutcomeUnknown):
    """An earlier request with the same key has not ended: ask again later, with the same key."""


class AnswerUnreadable(OutcomeUnknown):
    """The service says that it happened, but the result cannot be read."""


def judge(
    answer: httpx.Response, cut: Exception | None, now: datetime, also_refused: Collection[int] = ()
) -> httpx.Response:
    """The answer of a call that happened. Raises what the ledger understands of every other one."""
    status = answer.status_code
    said = _said(answer)
    after = retry_after(answer.headers, now)
    if status in REFUSED or status in also_refused:
        raise Refused(said)
    if status in MOVED_WITHOUT_EFFECT:
        raise Refused(f"{said}; call {answer.headers.get('location', 'the new address')} instead")
    if status in LATER or (status == LATER_IF_IT_SAYS_WHEN and after is not None):
        raise NotSent(said, retry_after=after)
    if status == STILL_PROCESSING:
        raise StillProcessing(said, status=status, retry_after=after)
    if not answer.is_success:
        raise OutcomeUnknown(said, status=status, retry_after=after)
    if cut is not None:
        raise AnswerUnreadable(f"the answer was cut short ({cut}): {said}", status=status) from cut
    return answer


def final(answer: httpx.Response, cut: Exception | None, now: datetime) -> httpx.Response:
    """The answer to a read, where asking again would get the same. Raises `NotSent` or `Refused` where it is none."""
    if answer.status_code in PASSING or answer.status_code >= 500:
        raise NotSent(_said(answer), retry_after=retry_after(answer.headers, now))
    if isinstance(cut, bodies.AnswerTooLarge):
        raise Refused(f"{cut}: {_said(answer)}")
    if cut is not None:
        raise NotSent(f"the answer was cut short ({cut}): {_said(answer)}")
    return answer


def result(answer: httpx.Response) -> Any:
    """The body as JSON where the answer says that it is, else as text; None when there is none."""
    if not answer.content:
        return None
    media_type = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json" and not media_type.endswith("+json"):
        return answer.text
    try:
        return answer.json()
    except (ValueError, RecursionError) as error:
        raise AnswerUnreadable(
            f"{answer.request.url.host} answered {answer.status_code} with a body that is not JSON: {error}",
            status=answer.status_code,
        ) from error


def retry_after(headers: httpx.Headers, now: datetime) -> timedelta | None:
    """What `Retry-After` asks for, in seconds or as a date; at most a day, None where it says nothing."""
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdecimal():
        seconds = int(value[:12])
    elif (at := _date(value)) is not None:
        # The service's own clock, where it shows it: ours may be wrong.
        seconds = int((at - (_date(headers.get("date", "")) or now)).total_seconds())
    else:
        return None
    return timedelta(seconds=min(max(seconds, 0), int(LONGEST_WAIT.total_seconds())))


def _date(value: str) -> datetime | None:
    try:
        at = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _said(answer: httpx.Response) -> str:
    what = f"{answer.request.method} {answer.request.url.copy_with(query=None)}"
    if text := explanation(answer):
        return f"{text} ({answer.status_code} to {what})"
    return f"{what} was answered {answer.status_code} {answer.reason_phrase}".rstrip()


def explanation(answer: httpx.Response) -> str:
    """What an answer says for people: the usual fields of a JSON error, else its text, on one line."""
    try:
        text = _message(answer.json()) or answer.text
    except (ValueError, RecursionError):
        text = answer.text
    return " ".join(text.split())[:SHOWN_TEXT]


def _message(body: Any) -> str | None:
    while isinstance(body, dict):
        body = next((body[name] for name in ("error", "message", "detail", "title") if body.get(name)), None)
    return body if isinstance(body, str) else None
