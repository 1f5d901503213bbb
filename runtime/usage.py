"""What a model's answer says of itself, as facts for the ledger and events: who answered, tokens, cost."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from runtime import chain, prices
from runtime.conf import settings

COUNTS = ("input_tokens", "cached_tokens", "output_tokens")
TEXTS = ("provider", "model", "finish_reason")
MOST = 2**53 - 1
LONGEST_TEXT = 200


def usage_of(requested: str, answer: Any) -> dict[str, Any]:
    """`provider`, `model` (that answered), `finish_reason`, tokens and `cost_micros`: each where it is known."""
    if not isinstance(answer, Mapping):
        return {}
    counted = answer.get("usage")
    tokens = _counts(counted) if isinstance(counted, Mapping) else {}
    said = {name: answer[name][:LONGEST_TEXT] for name in TEXTS if isinstance(answer.get(name), str)}
    cost = prices.cost_micros(settings().model_prices or {}, (said.get("model"), requested), tokens)
    return {**said, **tokens, **({} if cost is None else {"cost_micros": cost})}


def provenance(request: Mapping[str, Any], usage: Mapping[str, Any]) -> dict[str, Any]:
    """Whence an answer comes, under the names that OpenTelemetry has for it."""
    messages = request.get("messages")
    told = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": usage.get("provider"),
        "gen_ai.request.model": request.get("model"),
        "gen_ai.response.model": usage.get("model"),
        "gen_ai.response.finish_reasons": [usage["finish_reason"]] if "finish_reason" in usage else None,
        "gen_ai.usage.input_tokens": usage.get("input_tokens"),
        "gen_ai.usage.output_tokens": usage.get("output_tokens"),
        "parameters": {name: value for name, value in request.items() if name not in ("model", "messages")},
        "prompt_digest": hashlib.sha256(chain.canonical(messages)).hexdigest(),
        "cost_micros": usage.get("cost_micros"),
    }
    return {name: value for name, value in told.items() if value is not None}


def _counts(counted: Mapping[str, Any]) -> dict[str, int]:
    return {
        name: counted[name]
        for name in COUNTS
        if type(counted.get(name)) is int
        and 0 <= counted[name] <= MOST  # what a service says may be anything
    }
