"""One run: jobs and faults of a seed, then everything is mended and has to come to its end."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from uuid import UUID

from django.db.models import Q

from runtime import planning
from runtime.models import Job, LedgerEntry
from tests.chaos import judge, people
from tests.chaos.faults import Breaker, kinds
from tests.chaos.ground import Ground
from tests.chaos.jobs import Plan, plans
from tests.chaos.judge import Verdict
from tests.chaos.people import People, insisting

OPEN_AT_MOST = 60
GAP = (0.4, 1.2)
"""Seconds from one fault to the next."""
QUIET_SECONDS = 3.0
"""After the last fault: whoever was frozen has sent by then what it was about to send."""
PATIENCE = 180.0


class Chaos:
    """So many faults, and so many jobs around them. What happened is written to the file `history`."""

    name = "chaos"

    def __init__(self, ground: Ground, history: Path, *, seed: int, jobs: int, faults: int = 0) -> None:
        self.ground = ground
        self.history = history
        self.seed = seed
        self.jobs = jobs
        self.faults = faults
        self.breaker = Breaker(ground, seed)
        self.people = People(ground.payments)
        self.submitted: dict[UUID, Plan] = {}
        self.plans = plans(seed)
        self.kinds = kinds(seed)
        self.patience = PATIENCE
        self.gap = GAP
        self._chance = random.Random(f"pace {seed}")

    def run(self) -> Verdict:
        began = time.monotonic()
        self.people.start()
        try:
            left = self._live_through_it()
        finally:
            self.breaker.end_all()
            self.people.end()
        return judge.of(self, left, time.monotonic() - began)

    def _live_through_it(self) -> int:
        """How many jobs have not ended in the end."""
        self._break_things()
        self.breaker.end_all()
        return self._settle()

    def _break_things(self) -> None:
        """For each fault its share of the jobs, so that none finds an idle stack."""
        for number, kind in enumerate(islice(self.kinds, self.faults), 1):
            self._submit_until(self.jobs * number // self.faults)
            self.breaker.strike(kind)
            self._wait(self._chance.uniform(*self.gap))
        self._submit_until(self.jobs)

    def _submit_until(self, wanted: int) -> None:
        while len(self.submitted) < wanted:
            if self._open() >= OPEN_AT_MOST:
                self._wait(0.2)
                continue
            plan = next(self.plans)
            for fault in plan.faults:
                self.ground.witness.go_wrong(**fault)
            job = insisting(lambda plan=plan: self._submit(plan))  # type: ignore[misc]
            self.submitted[job.pk] = plan
            self.people.look_after(job, plan)

    def _submit(self, plan: Plan) -> Job:
        return planning.submit(None, plan.input, graph=plan.graph.build(), idempotency_key=plan.order)

    def _settle(self) -> int:
        """Until every job has ended; how many have not."""
        self._wait(QUIET_SECONDS)
        until = time.monotonic() + self.patience
        while (left := self._open()) and time.monotonic() < until:
            for entry in insisting(lambda: list(self._in_doubt())):
                insisting(lambda entry=entry: people.decide(entry, self.ground.payments))  # type: ignore[misc]
            self._wait(0.5)
        return left

    def _in_doubt(self) -> Iterator[LedgerEntry]:
        mine = Q(job__in=self.submitted) | Q(job__parent_step__job__in=self.submitted)
        yield from LedgerEntry.objects.filter(mine).in_doubt()

    def _open(self) -> int:
        return insisting(Job.objects.filter(pk__in=self.submitted).unfinished().count)

    def _wait(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.breaker.end_due()
            time.sleep(0.02)
