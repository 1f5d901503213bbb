"""The scripted model speaks the chat completions protocol and says the same to the same messages."""

import json
from typing import Any

import httpx
import pytest

from examples.model.script import count_tokens, reply_to
from examples.payments.orders import find_order


def ask(model: httpx.Client, text: str, **more: Any) -> httpx.Response:
    headers = {"X-Fault": more.pop("fault")} if "fault" in more else {}
    body = {"model": "scripted-1", "messages": [{"role": "user", "content": text}], **more}
    return model.post("/v1/chat/completions", json=body, headers=headers)


def content(answer: httpx.Response) -> str:
    return str(answer.json()["choices"][0]["message"]["content"])


def streamed(answer: httpx.Response) -> list[dict[str, Any]]:
    lines = [line.removeprefix("data: ") for line in answer.text.split("\n\n") if line]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


@pytest.mark.parametrize(
    ("order_id", "decision"), [("1001", "refund"), ("large-1", "refund"), ("final-1", "refuse")]
)
def test_it_decides_a_refund_as_json(model: httpx.Client, order_id: str, decision: str) -> None:
    order = find_order(order_id)
    answer = json.loads(content(ask(model, f"Decide on this refund: {json.dumps(order)}")))

    assert order is not None
    assert answer["decision"] == decision
    assert answer["amount"] == (order["amount"] if decision == "refund" else 0)
    assert order_id in answer["reason"]


def test_a_refund_without_an_order_is_refused() -> None:
    reply = reply_to([{"role": "user", "content": 'refund {"not": "an order"} {broken'}])
    assert json.loads(reply.content or "")["decision"] == "refuse"


def test_content_may_come_in_parts() -> None:
    parts = [{"type": "text", "text": "refund this:"}, {"type": "text", "text": '{"id": "1", "amount": 2.5}'}]
    reply = reply_to([{"role": "system", "content": "You decide."}, {"role": "user", "content": parts}])
    assert json.loads(reply.content or "")["amount"] == 2.5


def test_a_completion_has_the_fields_of_the_protocol(model: httpx.Client) -> None:
    answer = ask(model, "ping").json()

    assert answer["object"] == "chat.completion"
    assert answer["choices"][0]["message"] == {"role": "assistant", "content": "OK"}
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert answer["usage"] == {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    assert model.get("/v1/models").json()["data"][0]["id"] == answer["model"]


def test_the_same_messages_get_the_same_answer(model: httpx.Client) -> None:
    assert ask(model, "What is it?").json()["choices"] == ask(model, "What is it?").json()["choices"]
    assert count_tokens("What is it?") == 4


def test_a_stream_adds_up_to_the_whole_answer(model: httpx.Client) -> None:
    text = f"Decide on this refund: {json.dumps(find_order('1001'))}"
    answer = ask(model, text, stream=True, stream_options={"include_usage": True})
    *chunks, usage = streamed(answer)

    assert answer.headers["Content-Type"] == "text/event-stream"
    assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks) == content(
        ask(model, text)
    )
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks][-2:] == [None, "stop"]
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert (usage["choices"], usage["usage"]["completion_tokens"] > 10) == ([], True)


def test_calls_are_counted_by_prompt(model: httpx.Client) -> None:
    for text in ("ping", "ping", "say ok"):
        ask(model, text)

    calls = model.get("/calls").json()
    assert (calls["total"], sorted(calls["by_prompt"].values())) == (3, [1, 2])
    assert calls["by_model"] == {"scripted-1": 3}


def test_a_test_may_give_replies_and_tool_calls(model: httpx.Client) -> None:
    call = {"name": "query_order", "arguments": {"order_id": "1001"}}
    assert model.post("/replies", json={"match": "weather", "tool_calls": [call]}).status_code == 201

    choice = ask(model, "the weather?").json()["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["tool_calls"][0]["function"] == {
        "name": "query_order",
        "arguments": '{"order_id": "1001"}',
    }
    chunks = streamed(ask(model, "the weather?", stream=True))
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"

    model.delete("/replies")
    assert ask(model, "the weather?").json()["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize(
    ("fault", "status"), [("fail", 500), ("busy-2", 429), ("refuse", 422), ("late-0.05", 200)]
)
def test_it_fails_when_told(model: httpx.Client, fault: str, status: int) -> None:
    assert ask(model, "ping", fault=fault).status_code == status
    model.post("/faults", json={"kind": fault.partition("-")[0], "seconds": 0.05})
    assert [ask(model, "ping").status_code for _ in range(2)] == [status, 200]


@pytest.mark.parametrize("fault", ["reset", "truncate", "hang-0.05"])
@pytest.mark.parametrize("stream", [False, True])
def test_it_can_break_off(model: httpx.Client, fault: str, stream: bool) -> None:
    with pytest.raises(httpx.TransportError):
        ask(model, "ping", fault=fault, stream=stream)


@pytest.mark.parametrize("messages", [None, [], "ping", ["ping"]])
def test_bad_messages_are_400(model: httpx.Client, messages: Any) -> None:
    assert model.post("/v1/chat/completions", json={"messages": messages}).status_code == 400
