"""What each answer means for the ledger."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools import NotSent, Refused
from tools.http import AnswerUnreadable, OutcomeUnknown, StillProcessing
from tools.http.outcomes import LONGEST_WAIT, judge, result, retry_after

NOW = datetime(2030, 1, 1, tzinfo=UTC)
REFUSED = {400, 401, 403, 404, 405, 410, 413, 415, 422, 307, 308}


def answer(status: int, body: bytes = b"", **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = httpx.Request("POST", "https://api.example.com/refunds?secret=1")
    return httpx.Response(status, headers=named, content=body, request=request)


@pytest.mark.parametrize("status", range(200, 600))
def test_every_status_has_one_meaning(status: int) -> None:
    if status < 300:
        assert judge(answer(status), None, NOW).status_code == status
        return
    expected = Refused if status in REFUSED else NotSent if status in (425, 429) else OutcomeUnknown
    with pytest.raises(expected) as caught:
        judge(answer(status), None, NOW)
    assert isinstance(caught.value, StillProcessing) == (status == 409)


def test_an_unavailable_service_that_says_when_has_done_nothing() -> None:
    with pytest.raises(NotSent) as caught:
        judge(answer(503, Retry_After="7"), None, NOW)
    assert caught.value.retry_after == timedelta(seconds=7)


def test_a_service_may_document_more_refusals() -> None:
    with pytest.raises(Refused, match="card declined"):
        judge(answer(402, b"card declined"), None, NOW, also_refused={402})


def test_a_refusal_stands_though_its_text_was_cut_short() -> None:
    with pytest.raises(Refused):
        judge(answer(422, b"half a te"), ConnectionError("reset"), NOW)


def test_success_cut_short_is_doubt() -> None:
    with pytest.raises(AnswerUnreadable):
        judge(answer(201, b'{"id": '), ConnectionError("reset"), NOW)


def test_errors_do_not_repeat_the_query() -> None:
    with pytest.raises(Refused) as caught:
        judge(answer(400), None, NOW)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("body", "content_type", "value"),
    [
        (b'{"a": 1}', "application/json; charset=utf-8", {"a": 1}),
        (b'{"a": 1}', "application/problem+json", {"a": 1}),
        (b'{"a": 1}', "text/plain", '{"a": 1}'),
        (b"", "application/json", None),
    ],
)
def test_a_result_is_json_where_the_service_says_so(body: bytes, content_type: str, value: object) -> None:
    assert result(answer(200, body, Content_Type=content_type)) == value


@pytest.mark.parametrize("body", [b"<html>", b'{"a": ', b"[" * 100_000, b"\xff\xfe"])
def test_json_that_is_none_is_doubt(body: bytes) -> None:
    with pytest.raises(AnswerUnreadable):
        result(answer(200, body, Content_Type="application/json"))


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0),
        (" 120 ", 120),
        ("Tue, 01 Jan 2030 00:02:00 GMT", 120),
        ("Mon, 31 Dec 2029 00:00:00 GMT", 0),
        ("999999999999999999999999", LONGEST_WAIT.total_seconds()),
        ("Wed, 01 Jan 2130 00:00:00 GMT", LONGEST_WAIT.total_seconds()),
        ("-5", None),
        ("soon", None),
        ("²", None),
        ("", None),
    ],
)
def test_retry_after_in_seconds_or_as_a_date(value: str, seconds: float | None) -> None:
    expected = None if seconds is None else timedelta(seconds=seconds)
    headers = httpx.Headers([(b"Retry-After", value.encode())])
    assert retry_after(headers, NOW) == expected


def test_a_date_is_read_by_the_services_own_clock() -> None:
    theirs = NOW + timedelta(hours=3)
    headers = httpx.Headers(
        {
            "Date": format_datetime(theirs, usegmt=True),
            "Retry-After": format_datetime(theirs + timedelta(seconds=30), usegmt=True),
        }
    )
    assert retry_after(headers, NOW) == timedelta(seconds=30)


@given(st.text(), st.text())
def test_no_header_breaks_the_reading(value: str, date: str) -> None:
    headers = httpx.Headers(
        [(b"retry-after", value.encode("utf-8", "ignore")), (b"date", date.encode("utf-8", "ignore"))]
    )
    wait = retry_after(headers, NOW)
    assert wait is None or timedelta(0) <= wait <= LONGEST_WAIT
