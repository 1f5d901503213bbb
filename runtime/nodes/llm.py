"""`llm`: one answer of a model, as text or, with a `schema`, as the object that the schema describes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import count
from typing import TYPE_CHECKING, Any
from uuid import UUID

from runtime import expressions, schemas, strict_json
from runtime.callees import ModelCallee
from runtime.conf import settings
from runtime.intents import Intent
from runtime.nodes.base import Node
from runtime.outcomes import Completed, Outcome, Retry

if TYPE_CHECKING:
    from runtime.context import Context
    from runtime.models import Step


class LlmNode(Node):
    kind = "llm"
    settles_with_record = True

    def run(self, step: Step, context: Context) -> Outcome:
        asked = request(step.config, context.names)
        for number in count():
            # A recorded answer is never asked for again: after one that does not fit, the retry is the next call.
            sent = context.calls_sent
            content = context.model(asked, call=f"llm.{number}")["content"]
            try:
                return Completed(_checked(content, step.config.get("schema")))
            except ValueError as error:
                if context.calls_sent > sent:
                    message = f"the answer does not fit the schema: {str(error)[:500]}"
                    return Retry({"type": "ModelAnswerInvalid", "message": message})
        raise AssertionError("count() ends")

    def intent(
        self,
        tenant: str,
        job_id: UUID,
        step_id: int,
        step_key: str,
        config: Mapping[str, Any],
        names: Mapping[str, Any],
    ) -> Intent | None:
        asked = request(config, names)
        return Intent.make(
            tenant, job_id, step_id, step_key, "llm.0", ModelCallee(asked["model"], "llm.0"), asked
        )


def request(config: Mapping[str, Any], names: Mapping[str, Any]) -> dict[str, Any]:
    """The chat completion request of a node."""
    if "messages" in config:
        messages = expressions.evaluate(config["messages"], names)
    else:
        messages = [{"role": "user", "content": _text(expressions.evaluate(config.get("prompt", ""), names))}]
    if "system" in config:
        messages = [
            {"role": "system", "content": _text(expressions.evaluate(config["system"], names))},
            *messages,
        ]
    asked = {
        "model": config.get("model") or settings().model_name,
        "messages": messages,
        **config.get("parameters", {}),
    }
    for name in ("temperature", "max_tokens"):
        if name in config:
            asked[name] = config[name]
    if config.get("stream"):
        asked["stream"] = True
    if "schema" in config:
        asked["response_format"] = {
            "type": "json_schema",
            "json_schema": {"name": "answer", "schema": config["schema"]},
        }
    return asked


def _checked(content: str | None, schema: Mapping[str, Any] | None) -> Any:
    if schema is None:
        return content
    limits = settings()
    # A model that refuses may answer without content.
    value = strict_json.loads(content or "", limits.max_value_bytes, limits.max_depth)
    if wrong := schemas.misfit(value, schema):
        raise ValueError(f"{wrong.field}: {wrong.reason}" if wrong.field else wrong.reason)
    return value


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)
