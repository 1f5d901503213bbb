"""Payouts take their time: accepted at once, paid or failed later, and told by webhook then.

The webhook is signed as https://www.standardwebhooks.com says. `POST /payouts/{id}/end` plays the bank's clerk; the
webhook of an end is sent again each time that it is asked for, with the same id, as a provider would that saw no 200.
"""

import base64
import hashlib
import hmac
import json
import time
from threading import Lock
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request as HttpRequest
from urllib.request import urlopen

from examples.local_service.http import Rejected
from examples.payments.effects import Effect

ENDS = ("paid", "failed")


class Payouts:
    """How far each payout is, and whom its end is told. What was accepted is in the file of effects."""

    def __init__(self, url: str = "", secret: str = "") -> None:
        self._url = url
        self._secret = secret
        self._lock = Lock()
        self._ended: dict[str, dict[str, str]] = {}

    def shown(self, effect: Effect) -> dict[str, Any]:
        with self._lock:
            ended = self._ended.get(effect.id, {"status": "pending"})
        return {**effect.body, "id": effect.id, "key": effect.key, **ended}

    def end(self, effect: Effect, fields: dict[str, Any]) -> dict[str, Any]:
        """End it, once, and tell; `told` is the status that the webhook was answered with, 0 for none."""
        status = fields.get("status")
        if status not in ENDS:
            raise Rejected(422, f"A payout ends as {' or '.join(ENDS)}.")
        with self._lock:
            self._ended.setdefault(effect.id, {"status": status, "reason": str(fields.get("reason", ""))})
        payout = self.shown(effect)
        event = {"type": f"payout.{payout['status']}", "data": payout}
        return {**payout, "told": self._tell(f"evt_{effect.id}", event)}

    def _tell(self, event_id: str, event: dict[str, Any]) -> int:
        if not self._url:
            return 0
        body, moment = json.dumps(event).encode(), str(int(time.time()))
        key = base64.b64decode(self._secret.removeprefix("whsec_"))
        digest = hmac.new(key, f"{event_id}.{moment}.".encode() + body, hashlib.sha256).digest()
        headers = {
            "Content-Type": "application/json",
            "webhook-id": event_id,
            "webhook-timestamp": moment,
            "webhook-signature": "v1," + base64.b64encode(digest).decode(),
        }
        try:
            with urlopen(HttpRequest(self._url, body, headers), timeout=10) as answer:
                return int(answer.status)
        except HTTPError as refused:
            return refused.code
        except (URLError, TimeoutError):
            return 0
