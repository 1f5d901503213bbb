"""The model client over real sockets: what an answer means for the call, and that it ends in time."""

import json
from collections.abc import Callable
from datetime import timedelta
from time import monotonic
from typing import Any

import pytest

from adapters.openai_chat import client, complete, errors
from tests.tools.outside import Script, Server, answering, dripping, resetting, sending, written
from tools import NotSent, Refused, ToolError

ANSWER = json.dumps(
    {
        "id": "1",
        "model": "m-2",
        "choices": [{"message": {"content": "Yes."}, "finish_reason": "stop"}],
        "usage": {
            "prompt_tokens": 3,
            "completion_tokens": 1,
            "prompt_tokens_details": {"cached_tokens": 2},
        },
    }
)


@pytest.fixture
def ask(serve: Callable[..., Server], settings: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Ask a service that follows a script."""

    def asked(script: Script, timeout: float = 30.0, **more: Any) -> Any:
        settings.AETHERIS = settings.AETHERIS | {"MODEL_BASE_URL": f"{serve(script).url}/v1"}
        monkeypatch.setattr(client._local, "pid", None, raising=False)  # it knows the last test's address
        tell = {"tell": more.pop("tell")} if "tell" in more else {}
        request = {"model": "m", "messages": [{"role": "user", "content": "?"}], **more}
        return complete(request, timeout=timeout, **tell)

    return asked


def test_an_answer_is_recorded_with_its_model_and_usage(ask):
    assert ask(answering(200, ANSWER)) == {
        "content": "Yes.",
        "model": "m-2",
        "provider": "127.0.0.1",
        "finish_reason": "stop",
        "id": "1",
        "usage": {"input_tokens": 3, "cached_tokens": 2, "output_tokens": 1},
    }


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("said", "after"),
    [("7", 7), ("Sun, 22 Nov 2026 10:00:30 GMT", 30), ("²", None), ("soon", None)],
)
def test_a_busy_service_is_asked_again_when_it_says(ask, status, said, after):
    date = "Sun, 22 Nov 2026 10:00:00 GMT"
    with pytest.raises(NotSent) as busy:
        ask(answering(status, Retry_After=said, Date=date))
    assert busy.value.retry_after == (timedelta(seconds=after) if after is not None else None)


def test_a_request_that_is_refused_is_refused_for_good(ask):
    with pytest.raises(Refused, match="no such model"):
        ask(answering(404, "no such model"))


def said(code: str = "", message: str = "no") -> str:
    return json.dumps({"error": {"message": message, "code": code or None, "type": "error"}})


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (400, said("context_length_exceeded"), errors.ContextTooLong),
        (400, said(message="This model's maximum context length is 8 tokens"), errors.ContextTooLong),
        (400, said("content_filter"), errors.ContentFiltered),
        (400, said(), errors.RequestRefused),
        (401, said("invalid_api_key"), errors.CredentialsRefused),
        (403, "<html>no</html>", errors.CredentialsRefused),
        (302, "", errors.RequestRefused),
        (422, "[]", errors.RequestRefused),
        (429, said("rate_limit_exceeded"), errors.ModelBusy),
        (429, said("insufficient_quota"), errors.QuotaExhausted),
        (500, said(), errors.ModelUnavailable),
        (529, said("overloaded_error"), errors.ModelUnavailable),
        (200, "{", errors.AnswerMalformed),
        (200, "[]", errors.AnswerMalformed),
        (200, '{"choices": []}', errors.AnswerMalformed),
        (200, '{"choices": [{"finish_reason": "stop"}]}', errors.AnswerMalformed),
        (200, '{"choices": [{"message": {}, "finish_reason": "content_filter"}]}', errors.ContentFiltered),
        (200, said("content_filter"), errors.ContentFiltered),
    ],
)  # fmt: skip
def test_what_went_wrong_has_a_type_that_says_whether_to_ask_again(ask, status, body, error):
    with pytest.raises(ToolError) as raised:
        ask(answering(status, body))
    assert type(raised.value) is error
    assert raised.value.permanent is issubclass(error, Refused)


def test_a_service_that_is_not_there_may_be_asked_later(ask, settings, monkeypatch):
    settings.AETHERIS = settings.AETHERIS | {"MODEL_BASE_URL": "http://127.0.0.1:1/v1"}
    monkeypatch.setattr(client._local, "pid", None, raising=False)
    with pytest.raises(errors.ModelUnavailable, match="cannot be reached"):
        complete({"model": "m", "messages": []}, timeout=30)


@pytest.mark.parametrize("script", [resetting, sending(written(200, ANSWER)[:-20])])
def test_an_answer_that_breaks_off_is_truncated(ask, script):
    with pytest.raises(errors.AnswerTruncated):
        ask(script)


# Streams


def chunk(delta: dict[str, Any] | None = None, finish: str | None = None, **more: Any) -> dict[str, Any]:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
    return {"id": "1", "model": "m-2", "choices": choices, **more}


def stream(*chunks: Any, done: bool = True, end: str = "\n\n") -> Script:
    lines = [f"data: {json.dumps(one, ensure_ascii=False)}{end}" for one in chunks]
    return answering(
        200, "".join([*lines, f"data: [DONE]{end}" if done else ""]), Content_Type="text/event-stream"
    )


def test_a_stream_is_told_piece_by_piece_and_recorded_whole(ask):
    heard: list[str] = []
    usage = chunk(usage={"prompt_tokens": 3, "completion_tokens": 2})
    pieces = [
        chunk({"role": "assistant", "content": ""}),
        chunk({"content": "Ja\u2028"}),
        chunk({"content": " wohl."}, "stop"),
    ]
    record = ask(stream(*pieces, usage), stream=True, tell=heard.append)
    assert heard == ["Ja\u2028", " wohl."]
    assert (record["content"], record["finish_reason"], record["model"]) == ("Ja\u2028 wohl.", "stop", "m-2")
    assert record["usage"] == {"input_tokens": 3, "cached_tokens": None, "output_tokens": 2}


def test_usage_is_asked_for_with_a_stream(serve, settings, monkeypatch):
    server = serve(stream(chunk({"content": "x"}, "stop")))
    settings.AETHERIS = settings.AETHERIS | {"MODEL_BASE_URL": f"{server.url}/v1"}
    monkeypatch.setattr(client._local, "pid", None, raising=False)
    complete({"model": "m", "messages": [], "stream": True}, timeout=30)
    assert json.loads(server.requests[0].partition(b"\r\n\r\n")[2])["stream_options"] == {
        "include_usage": True
    }


def test_tool_calls_of_a_stream_are_put_together(ask):
    record = ask(
        stream(
            chunk({"tool_calls": [{"index": 0, "id": "c1", "function": {"name": "find", "arguments": ""}}]}),
            chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"id":'}}]}),
            chunk({"tool_calls": [{"index": 1, "id": "c2", "function": {"name": "pay", "arguments": "{}"}}]}),
            chunk({"tool_calls": [{"index": 0, "function": {"arguments": " 7}"}}]}),
            chunk({}, "tool_calls"),
        ),
        stream=True,
    )
    assert [(call["id"], call["function"]) for call in record["tool_calls"]] == [
        ("c1", {"name": "find", "arguments": '{"id": 7}'}),
        ("c2", {"name": "pay", "arguments": "{}"}),
    ]
    assert record["content"] is None


@pytest.mark.parametrize("end", ["\n\n", "\r\n\r\n"])
def test_lines_of_a_stream_may_end_either_way(ask, end):
    assert ask(stream(chunk({"content": "x"}, "stop"), end=end), stream=True)["content"] == "x"


def test_a_stream_without_its_last_line_is_whole_when_the_model_had_ended(ask):
    assert ask(stream(chunk({"content": "x"}, "stop"), done=False), stream=True)["content"] == "x"


@pytest.mark.parametrize(
    ("chunks", "error"),
    [
        ([chunk({"content": "x"})], errors.AnswerTruncated),
        ([], errors.AnswerTruncated),
        ([chunk({"content": "x"}), {"error": {"message": "overloaded"}}], errors.ModelUnavailable),
        ([chunk({"content": "x"}), {"error": {"message": "no", "code": "content_filter"}}], errors.ContentFiltered),
        ([chunk({"content": "x"}, "content_filter")], errors.ContentFiltered),
        ([7], errors.AnswerMalformed),
        ([chunk({"content": 7})], errors.AnswerMalformed),
        ([chunk({"tool_calls": [7]})], errors.AnswerMalformed),
        ([chunk({"content": "x" * 2000}), chunk({"content": "x" * 2000})], errors.AnswerTooLong),
    ],
)  # fmt: skip
def test_a_stream_that_goes_wrong_is_no_answer(ask, settings, chunks, error):
    settings.AETHERIS = settings.AETHERIS | {"MAX_VALUE_BYTES": 3000}
    with pytest.raises(error):
        ask(stream(*chunks, done=False), stream=True)


def test_a_service_that_does_not_stream_is_understood_too(ask):
    heard: list[str] = []
    record = ask(answering(200, ANSWER, Content_Type="application/json"), stream=True, tell=heard.append)
    assert (record["content"], heard) == ("Yes.", [])


# Limits


def test_an_answer_that_drips_ends_with_its_time(ask):
    began = monotonic()
    with pytest.raises(errors.ModelTimedOut):
        ask(dripping(written(200, ANSWER), every=0.25), timeout=0.5)
    assert monotonic() - began < 30, "all of it would take a minute"


def test_an_answer_that_is_too_long_is_not_kept(ask, settings):
    settings.AETHERIS = settings.AETHERIS | {"MAX_VALUE_BYTES": 1000}
    with pytest.raises(errors.AnswerTooLong, match="longer than 1,000 bytes"):
        ask(answering(200, "x" * 100_000))
