"""The bank: a provider of webhooks, signed as the published scheme says."""

import json
import time
from typing import Any

from tools import Failed, Happened
from tools.webhooks import Notice, StandardWebhooks, provider, sign

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
NEXT_SECRET = "whsec_" + "c2VjcmV0LW51bWJlci10d28tb2YtdGhlLWJhbms="


@provider("bank", verify=StandardWebhooks([SECRET, NEXT_SECRET]))
def bank(event: Any) -> Notice | None:
    if event["type"] == "hello":
        return None
    data = event["data"]
    ended = Happened(data["result"]) if event["type"] == "paid" else Failed(data["reason"], retry=False)
    return Notice(ended, key=data.get("reference", ""), external_id=data.get("id", ""))


@provider("stranger", verify=StandardWebhooks([SECRET]))
def stranger(event: Any) -> Notice:
    """Knows keys of others, and settles none of them."""
    return Notice(Happened("stolen"), key=event["reference"], external_id=event["id"])


def signed(
    body: Any, *, event: str = "evt_1", secret: str = SECRET, at: float | None = None
) -> tuple[bytes, dict[str, str]]:
    """A body and the headers that go with it."""
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    moment = str(int(time.time() if at is None else at))
    signature = sign(secret, event, moment, text)
    headers = {"webhook-id": event, "webhook-timestamp": moment, "webhook-signature": signature}
    return text, headers
