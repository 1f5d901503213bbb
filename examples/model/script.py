"""What the scripted model says: rules on the messages, tried in order. Pure functions."""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

Messages = Sequence[dict[str, Any]]


@dataclass(frozen=True)
class Reply:
    """An answer of the model: text, or calls of the tools it was offered."""

    content: str | None
    tool_calls: tuple[dict[str, Any], ...] = ()


def reply_to(messages: Messages, given: Sequence[dict[str, Any]] = ()) -> Reply:
    """The reply to these messages; `given` replies (`match`, and `content` or `tool_calls`) come first."""
    text = said(messages)
    for reply in given:
        if re.search(reply.get("match", ""), text):
            return Reply(reply.get("content"), tuple(reply.get("tool_calls", ())))
    for pattern, rule in RULES:
        if re.search(pattern, text, re.IGNORECASE):
            return Reply(rule(messages))
    return Reply(f"This is a scripted model. It read {count_tokens(text)} tokens and has no rule for them.")


def said(messages: Messages) -> str:
    """All text of the messages, one after the other."""
    return "\n".join(_text(message.get("content")) for message in messages)


def count_tokens(text: str) -> int:
    """Words and signs: not a tokenizer, but the same number for the same text."""
    return len(re.findall(r"\w+|[^\w\s]", text))


def decide_refund(messages: Messages) -> str:
    """Refund what may be refunded: the model's half of the refund agent, the policy being the other."""
    order = _last_object(messages, wanted="amount")
    if order is None:
        return _decision("refuse", 0, "No order was given.")
    if order.get("refundable") is False:
        return _decision("refuse", 0, f"Order {order.get('id')} was sold as final.")
    if order.get("status") not in (None, "delivered", "lost"):
        return _decision("refuse", 0, f"Order {order.get('id')} is {order.get('status')}.")
    return _decision("refund", order["amount"], f"Order {order.get('id')} may be refunded in full.")


def say_ok(messages: Messages) -> str:
    return "OK"


RULES: tuple[tuple[str, Callable[[Messages], str]], ...] = (
    (r"\brefund", decide_refund),
    (r"\b(ping|say ok)\b", say_ok),
)


def _decision(decision: str, amount: float, reason: str) -> str:
    return json.dumps({"decision": decision, "amount": amount, "reason": reason})


def _text(content: Any) -> str:
    if isinstance(content, list):
        return "\n".join(part.get("text", "") for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


def _last_object(messages: Messages, wanted: str) -> dict[str, Any] | None:
    """The last JSON object in the messages that has the wanted member."""
    found = [item for item in _objects(said(messages)) if wanted in item]
    return found[-1] if found else None


def _objects(text: str) -> list[dict[str, Any]]:
    decoder, place, objects = json.JSONDecoder(), 0, []
    while (place := text.find("{", place)) >= 0:
        try:
            value, place = decoder.raw_decode(text, place)
        except (ValueError, RecursionError):
            place += 1
        else:
            objects.append(value)
    return objects
