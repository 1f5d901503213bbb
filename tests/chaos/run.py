"""One run: jobs and faults of a seed, then everything is mended and has to come to its end."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

from runtime import planning
from runtime.models import Job, LedgerEntry
from tests.chaos import judge, people
from tests.chaos.faults import Breaker, Kind
from tests.chaos.ground import Ground
from tests.chaos.jobs import Plan, plans
from tests.chaos.judge import Verdict
from tests.chaos.people import People, insisting

OPEN_AT_MOST = 60
QUIET_SECONDS = 3.0
"""After the last fault: whoever was frozen has sent by then what it was about to send."""
PATIENCE = 180.0


class Chaos:
    """`count` of `faults`, and so many jobs around them. What happened is written to the file `history`."""

    def __init__(
        self, ground: Ground, seed: int, jobs: int, faults: Iterator[Kind], count: int, history: Path
    ) -> None:
        self.ground = ground
        self.history = history
        self.seed = seed
        self.jobs = jobs
        self.count = count
        self.breaker = Breaker(ground, seed)
        self.people = People(ground.payments)
        self._faults = faults
        self._plans = plans(seed)
        self._chance = random.Random(f"pace {seed}")
        self.submitted: dict[UUID, Plan] = {}

    def run(self, gap: tuple[float, float] = (0.5, 1.3)) -> Verdict:
        began = time.monotonic()
        self.people.start()
        try:
            self._break_things(gap)
            self.breaker.end_all()
            left = self._settle()
        finally:
            self.breaker.end_all()
            self.people.end()
        return judge.of(self, left, time.monotonic() - began)

    def _break_things(self, gap: tuple[float, float]) -> None:
        """For each fault its share of the jobs, so that none finds an idle stack."""
        for number in range(1, self.count + 1):
            self._submit_until(self.jobs * number // self.count)
            self.breaker.strike(next(self._faults))
            self._wait(self._chance.uniform(*gap))
        self._submit_until(self.jobs)

    def _submit_until(self, wanted: int) -> None:
        while len(self.submitted) < wanted:
            if self._open() >= OPEN_AT_MOST:
                self._wait(0.2)
                continue
            plan = next(self._plans)
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
        until = time.monotonic() + PATIENCE
        while (left := self._open()) and time.monotonic() < until:
            for entry in insisting(lambda: list(self._in_doubt())):
                insisting(lambda entry=entry: people.decide(entry, self.ground.payments))  # type: ignore[misc]
            self._wait(0.5)
        return left

    def _in_doubt(self) -> Iterator[LedgerEntry]:
        yield from LedgerEntry.objects.filter(job__in=self.submitted).in_doubt()

    def _open(self) -> int:
        return insisting(Job.objects.filter(pk__in=self.submitted).unfinished().count)

    def _wait(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.breaker.end_due()
            time.sleep(0.02)
