"""The model client over real sockets: what an answer means for the call, and that it ends in time."""

import json
from collections.abc import Callable
from datetime import timedelta
from time import monotonic
from typing import Any

import httpx
import pytest

from adapters.openai_chat import client, complete
from tests.tools.outside import Script, Server, answering, dripping, written
from tools import NotSent, Refused

ANSWER = json.dumps(
    {
        "id": "1",
        "model": "m-2",
        "choices": [{"message": {"content": "Yes."}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 1},
    }
)


@pytest.fixture
def ask(serve: Callable[..., Server], settings: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Ask a service that follows a script."""

    def asked(script: Script, timeout: float = 5.0) -> Any:
        settings.AETHERIS = settings.AETHERIS | {"MODEL_BASE_URL": f"{serve(script).url}/v1"}
        monkeypatch.setattr(client._local, "pid", None, raising=False)  # it knows the last test's address
        return complete({"model": "m", "messages": [{"role": "user", "content": "?"}]}, timeout=timeout)

    return asked


def test_an_answer_is_recorded_with_its_model_and_usage(ask):
    assert ask(answering(200, ANSWER)) == {
        "content": "Yes.",
        "model": "m-2",
        "finish_reason": "stop",
        "id": "1",
        "usage": {"input_tokens": 3, "output_tokens": 1},
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


def test_an_answer_that_drips_ends_with_its_time(ask):
    began = monotonic()
    with pytest.raises(httpx.ReadTimeout):
        ask(dripping(written(200, ANSWER), every=0.05), timeout=0.5)
    assert monotonic() - began < 6, "all of it would take twelve seconds"


def test_an_answer_that_is_too_long_is_not_kept(ask, settings):
    settings.AETHERIS = settings.AETHERIS | {"MAX_VALUE_BYTES": 1000}
    with pytest.raises(ValueError, match="longer than 1,000 bytes"):
        ask(answering(200, "x" * 100_000))
