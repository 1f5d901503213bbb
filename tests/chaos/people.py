"""Those around the jobs: they signal, cancel, end payouts and tell of it, and decide what is in doubt."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from django.db import DatabaseError, InterfaceError, connection

from examples.payments.effects import Effect
from examples.payments.service import PaymentService
from runtime.exceptions import JobFinished, StaleAttempt
from runtime.models import Job, LedgerEntry
from runtime.resolution import resolve
from tests.chaos.jobs import Plan

T = TypeVar("T")

LOOK_SECONDS = 0.1
CANCEL_AFTER = 2.0


def insisting(act: Callable[[], T], patience: float = 60.0) -> T:
    """What a client does whose server is away: it asks again, with the same ids."""
    until = time.monotonic() + patience
    while True:
        try:
            return act()
        except (DatabaseError, InterfaceError):
            connection.close()
            if time.monotonic() > until:
                raise
            time.sleep(0.1)


class People(threading.Thread):
    """They act while everything breaks, and keep at it until they were heard."""

    def __init__(self, payments: PaymentService) -> None:
        super().__init__(name="people", daemon=True)
        self.payments = payments
        self.told: dict[str, bool] = {}
        """Signals that were acknowledged, by order: whether the first delivery was the one that counted."""
        self.failed: list[str] = []
        self._plans: dict[str, tuple[Job, Plan, float]] = {}
        self._ended: dict[str, int] = {}
        self._ending = threading.Event()

    def look_after(self, job: Job, plan: Plan) -> None:
        self._plans[plan.order] = (job, plan, time.monotonic())

    def end(self) -> None:
        self._ending.set()
        self.join()

    def run(self) -> None:
        while not self._ending.wait(LOOK_SECONDS):
            try:
                self._look()
            except Exception as error:  # told at the end: without them no job that waits would ever go on
                self.failed.append(f"people: {type(error).__name__}: {error}")
                connection.close()
        connection.close()

    def _look(self) -> None:
        for job, plan, since in list(self._plans.values()):
            if plan.signals:
                self._signal(job, plan)
            if plan.shape == "undone" and time.monotonic() - since > CANCEL_AFTER:
                insisting(job.cancel)
                del self._plans[plan.order]
        for effect in self.payments.effects.find("payout"):
            self._tell_end(effect)

    def _signal(self, job: Job, plan: Plan) -> None:
        with suppress(JobFinished):
            was_first = insisting(lambda: job.signal("go", dedup_id=plan.order))
            self.told.setdefault(plan.order, was_first)
        plan.signals -= 1

    def _tell_end(self, effect: Effect) -> None:
        """By webhook, until it was taken as often as planned."""
        if (effect.order or "") not in self._plans:
            return
        _, plan, _ = self._plans[effect.order or ""]
        if self._ended.get(effect.id, 0) < plan.webhooks:
            told = self.payments.payouts.end(effect, {"status": "paid"})["told"]
            self._ended[effect.id] = self._ended.get(effect.id, 0) + (told == 200)


def decide(entry: LedgerEntry, payments: PaymentService) -> None:
    """What a person does who looks it up outside. Only once nobody is left who could still send it."""
    happened = payments.effects.find(key=str(entry.idempotency_key))
    with suppress(StaleAttempt):  # it became known meanwhile
        if not happened:
            resolve(entry, "absent", by="ada", why="nothing happened outside")
        elif entry.name != "witness.payout":  # of which a webhook will tell
            resolve(entry, "happened", by="ada", why="it happened", result={"id": happened[0].id})
