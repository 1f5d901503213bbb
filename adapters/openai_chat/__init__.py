"""Models that speak the OpenAI chat completions protocol: hosted ones, local servers, and the scripted one of the demo."""

from adapters.openai_chat.client import complete

__all__ = ["complete"]
