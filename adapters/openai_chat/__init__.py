"""Models that speak the OpenAI chat completions protocol: hosted ones and local servers."""

from adapters.openai_chat.client import complete

__all__ = ["complete"]
