"""The payment service's endpoints.

`POST /refunds` honours `Idempotency-Key`. `POST /messages` does not, like most mail gateways: every request
sends one, and the key only lets a caller look it up afterwards. Nothing is checked against earlier refunds of
an order: a second refund must show, not be refused.
"""

from collections import Counter
from dataclasses import asdict
from math import isfinite
from pathlib import Path
from threading import Lock
from typing import Any

from examples.local_service.faults import Fault, Faults
from examples.local_service.http import Answer, Handler, Rejected, Request, Service
from examples.payments.effects import Effect, EffectFile
from examples.payments.keys import Keys
from examples.payments.orders import fault_on, find_order
from examples.payments.payouts import Payouts


class PaymentService(Service):
    """Refunds, messages, orders, and the record of what happened."""

    def __init__(self, file: Path, *, webhook_url: str = "", webhook_secret: str = "") -> None:
        super().__init__()
        self.effects = EffectFile(file)
        self.faults = Faults(self.stopping)
        self.refunds = Keys(self.effects, "refund")
        self.accepted = Keys(self.effects, "payout")
        self.payouts = Payouts(webhook_url, webhook_secret)
        self._lock = Lock()
        self._requests: Counter[str] = Counter()
        self._under_way: Counter[str] = Counter()
        self._at_once: Counter[str] = Counter()
        self._struck: set[str] = set()

    def routes(self) -> dict[str, Handler]:
        return {
            "GET /orders/{order_id}": self.show_order,
            "POST /refunds": self.create_refund,
            "GET /refunds": self.find_refund,
            "POST /refunds/closed": self.close_key,
            "POST /payouts": self.create_payout,
            "GET /payouts/{payout_id}": self.show_payout,
            "POST /payouts/{payout_id}/end": self.end_payout,
            "POST /messages": self.send_message,
            "GET /messages": self.find_message,
            "GET /effects": self.show_effects,
            "GET /requests": self.show_requests,
            "POST /faults": self.faults.add,
            "GET /faults": self.faults.list,
            "DELETE /faults": self.faults.clear,
            "GET /healthz": self.show_health,
        }

    def answer(self, request: Request) -> Answer:
        order = _order_of(request)
        with self._lock:
            self._under_way[order] += 1
            self._at_once[order] = max(self._at_once[order], self._under_way[order])
        try:
            return super().answer(request)
        finally:
            with self._lock:
                self._under_way[order] -= 1

    def show_order(self, request: Request, order_id: str) -> Answer:
        self.faults.strike(self.faults.meet(request, order_id), "before")
        return Answer(_existing_order(order_id))

    def create_refund(self, request: Request) -> Answer:
        key, body = self._count(request)
        with self.refunds.held(key, body) as done:
            fault = self._meet(request, body)
            self.faults.strike(fault, "before")
            _check_refund(body)
            effect = done or self.refunds.act(key, body)
            self.faults.strike(fault, "after")
        answer = Answer(_receipt(effect), 201, truncated=_truncates(fault))
        return answer.with_headers(Idempotent_Replayed="true") if done else answer

    def find_refund(self, request: Request) -> Answer:
        """Look a refund up by its key; does not keep a request on its way from acting later."""
        return Answer({"refunds": self._found("refund", request)})

    def close_key(self, request: Request) -> Answer:
        """Look a refund up and, if there is none, make sure there never will be one with this key."""
        effect = self.refunds.close(_text(request.fields(), "key"))
        return Answer({"refunds": [_receipt(effect)] if effect else []})

    def create_payout(self, request: Request) -> Answer:
        """Accepted, not paid yet: 202."""
        key, body = self._count(request)
        with self.accepted.held(key, body) as done:
            fault = self._meet(request, body)
            self.faults.strike(fault, "before")
            _check_refund(body)
            effect = done or self.accepted.act(key, body)
            self.faults.strike(fault, "after")
        return Answer(self.payouts.shown(effect), 202, truncated=_truncates(fault))

    def show_payout(self, request: Request, payout_id: str) -> Answer:
        self.faults.strike(self.faults.meet(request), "before")
        return Answer(self.payouts.shown(self._payout(payout_id)))

    def end_payout(self, request: Request, payout_id: str) -> Answer:
        """Pay it or let it fail, and send the webhook, once more if it was ended before."""
        return Answer(self.payouts.end(self._payout(payout_id), request.fields()))

    def _payout(self, payout_id: str) -> Effect:
        for effect in self.effects.find("payout"):
            if effect.id == payout_id:
                return effect
        raise Rejected(404, f"There is no payout {payout_id}.")

    def send_message(self, request: Request) -> Answer:
        key, body = self._count(request)
        fault = self.faults.meet(request, _text(body, "order"))
        self.faults.strike(fault, "before")
        _text(body, "text")
        effect = self.effects.add("message", body, key)
        self.faults.strike(fault, "after")
        return Answer(_receipt(effect), 201, truncated=_truncates(fault))

    def find_message(self, request: Request) -> Answer:
        return Answer({"messages": self._found("message", request)})

    def show_effects(self, request: Request) -> Answer:
        """Counts by key and order; with `?order=` or `?key=` the effects themselves."""
        if not request.query:
            return Answer(self.effects.counts())
        found = self.effects.find(key=request.query.get("key"), order=request.query.get("order"))
        return Answer({"total": len(found), "effects": [asdict(effect) for effect in found]})

    def show_requests(self, request: Request) -> Answer:
        """How often each key was sent here since the start, answered or not, and for each order how many at once."""
        return Answer({"total": self._requests.total(), "by_key": self._requests, "at_once": self._at_once})

    def show_health(self, request: Request) -> Answer:
        return Answer({"status": "ok"})

    def _count(self, request: Request) -> tuple[str | None, dict[str, Any]]:
        key = request.headers.get("idempotency-key")
        with self._lock:
            self._requests[key or ""] += 1
        return key, request.fields()

    def _meet(self, request: Request, body: dict[str, Any]) -> Fault | None:
        order_id = _text(body, "order")
        return self.faults.meet(request, order_id) or self._fault_on_first(order_id)

    def _fault_on_first(self, order_id: str) -> Fault | None:
        with self._lock:
            first = order_id not in self._struck
            self._struck.add(order_id)
        return fault_on(order_id) if first else None

    def _found(self, kind: str, request: Request) -> list[dict[str, Any]]:
        if not (key := request.query.get("key")):
            raise Rejected(422, "Say which with ?key=…")
        return [_receipt(effect) for effect in self.effects.find(kind, key=key)]


def _order_of(request: Request) -> str:
    """What a request is about; empty where it does not say."""
    order = request.body.get("order") if isinstance(request.body, dict) else None
    return order if isinstance(order, str) else ""


def _receipt(effect: Effect) -> dict[str, Any]:
    return {**effect.body, "id": effect.id, "key": effect.key, "at": effect.at}


def _existing_order(order_id: str) -> dict[str, Any]:
    if (order := find_order(order_id)) is None:
        raise Rejected(404, f"There is no order {order_id}.")
    return order


def _check_refund(body: dict[str, Any]) -> None:
    amount = body.get("amount")
    if isinstance(amount, bool) or not isinstance(amount, int | float) or not isfinite(amount) or amount <= 0:
        raise Rejected(422, "The amount must be a number above zero.")
    paid = _existing_order(_text(body, "order"))["amount"]
    if amount > paid:
        raise Rejected(422, f"The amount {amount:.2f} is more than the {paid:.2f} that was paid.")


def _text(body: dict[str, Any], name: str) -> str:
    if not isinstance(value := body.get(name), str) or not value:
        raise Rejected(422, f"The field {name!r} must be a text that is not empty.")
    return value


def _truncates(fault: Fault | None) -> bool:
    return fault is not None and fault.kind == "truncate"
