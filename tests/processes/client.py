"""A client of the stack: submits jobs, waits for what becomes of them, and looks after the processes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import datetime
from uuid import UUID, uuid4

from django.db import DatabaseError, InterfaceError, connection

from runtime import doctor
from runtime.exceptions import JobFinished
from runtime.models import Event, Job, LedgerEntry, Step, Worker
from runtime.stack.child import Child
from runtime.stack.supervisor import Supervisor
from runtime.states import JOB_FINISHED
from tests.processes.witness import Witness

PATIENCE = 60.0
NEEDED = ("postgres", "valkey", "sweeper-1", "worker-1", "worker-2")
RECOVERY = 8.0
"""Seconds from a kill to the next attempt, also where the lease has to tell."""
QUICK_RECOVERY = 4.0
"""The same where the lifeline tells, on a busy machine."""


class NotInTime(AssertionError):
    """Something did not come about in its time."""


class Client:
    def __init__(self, stack: Supervisor, witness: Witness, recoveries: dict[str, list[float]]) -> None:
        self.stack = stack
        self.witness = witness
        self.recoveries = recoveries
        self.jobs: list[Job] = []

    def submit(self, agent: str, *, priority: int = 0, order: str | None = None, **input: object) -> Job:
        given = {"order": order or self.new_order(), **input}
        job = Job.objects.submit(agent, given, priority=priority)
        self.jobs.append(job)
        return job

    def submit_many(self, agent: str, count: int, **input: object) -> list[Job]:
        """In one transaction."""
        requests = [{"agent": agent, "input": {"order": self.new_order(), **input}} for _ in range(count)]
        jobs = [job for job in Job.objects.submit_many(requests) if isinstance(job, Job)]
        assert len(jobs) == count
        self.jobs += jobs
        return jobs

    def new_order(self) -> str:
        return uuid4().hex

    # Waiting

    def until(self, met: Callable[[], object], what: str, patience: float = PATIENCE) -> float:
        """Come back when it is so, with the seconds that it took. An outage in between is waited out."""
        began = time.monotonic()
        while not self._asked(met):
            if time.monotonic() - began > patience:
                raise NotInTime(f"Waited {patience:.0f} s in vain for {what}.")
            time.sleep(0.02)
        return time.monotonic() - began

    def _asked(self, met: Callable[[], object]) -> object:
        try:
            return met()
        except (DatabaseError, InterfaceError):
            connection.close()
            return False

    def until_finished(self, *jobs: Job, patience: float = PATIENCE) -> float:
        ids = [job.pk for job in jobs]
        took = self.until(
            lambda: Job.objects.filter(pk__in=ids, status__in=JOB_FINISHED).count() == len(ids),
            f"{len(ids)} jobs to end",
            patience,
        )
        for job in jobs:
            job.refresh_from_db()
        return took

    def until_running(self, job: Job, key: str, attempt: int = 1, patience: float = PATIENCE) -> Step:
        """The step, once this attempt of it was claimed."""
        row = job.steps.filter(key=key, attempt__gte=attempt)
        self.until(row.exists, f"attempt {attempt} of step {key} to be claimed", patience)
        return row.get()

    # Looking

    def claimed_at(self, job: Job, key: str, attempt: int) -> datetime:
        return job.events.get(type="step_claimed", step=key, attempt=attempt).at

    def recovery(
        self, job: Job, key: str, lost_at: float, attempt: int = 2, *, of: str = "killed worker"
    ) -> float:
        """Seconds from the loss of the worker to the claim of the next attempt, which has to come in time."""
        self.until_running(job, key, attempt, patience=RECOVERY + 10)
        took = self.claimed_at(job, key, attempt).timestamp() - lost_at
        self.took(of, took)
        return took

    def took(self, what: str, seconds: float) -> None:
        """Keep a figure for the end of the run."""
        self.recoveries.setdefault(what, []).append(seconds)

    def events(self, jobs: Iterable[Job], *types: str) -> list[str]:
        """What of these types was recorded for these jobs."""
        found = Event.objects.filter(job__in=[job.pk for job in jobs], type__in=types)
        return [f"{one.type} {one.step} {one.attempt}" for one in found]

    def in_doubt(self, jobs: Iterable[Job]) -> list[LedgerEntry]:
        return list(LedgerEntry.objects.filter(job__in=[job.pk for job in jobs]).in_doubt())

    def ran(self, jobs: Iterable[Job]) -> set[UUID]:
        """The workers that claimed steps of these jobs."""
        claims = Event.objects.filter(job__in=[job.pk for job in jobs], type="step_claimed")
        return {worker for worker in claims.values_list("worker", flat=True) if worker}

    def workers(self, ids: Iterable[UUID]) -> list[Worker]:
        return list(Worker.objects.filter(pk__in=list(ids)))

    # Processes

    def child(self, name: str) -> Child:
        return self.stack.children[name]

    def worker_of(self, step: Step) -> Worker:
        """The incarnation that runs a step."""
        return Worker.objects.get(pk=step.worker_id or UUID(int=0))

    def child_of(self, step: Step) -> Child:
        """The process of the stack that runs a step."""
        return self.child(self.worker_of(step).name)

    def wait_whole(self, *more: str) -> None:
        """Everything that most tests need runs, whatever the test before did to it."""
        self.resume_all()
        # A worker that was killed a few times is started more and more slowly; here it was no fault of its own.
        self.stack._delays.clear()
        names = [*NEEDED, *more]
        self.until(lambda: all(map(self._runs, names)), f"{', '.join(names)} to run", 300)

    def _runs(self, name: str) -> bool:
        child = self.stack.children.get(name)
        return child is not None and child.alive and child.ready()

    def resume_all(self) -> None:
        for child in list(self.stack.children.values()):
            if child.alive:
                child.resume()

    def settle(self) -> None:
        """End what this test left open; then nothing may be left that `doctor` does not like."""
        for job in Job.objects.filter(pk__in=[job.pk for job in self.jobs]).unfinished():
            with suppress(JobFinished):
                job.cancel(by="test", why="the test is over")
        self.until_finished(*self.jobs)
        findings = doctor.examine([job.pk for job in self.jobs])
        assert not findings, "\n".join(
            f"{one.code} {one.job_id}: {one.message}. {one.remedy}" for one in findings
        )
        repeated = {key: count for key, count in self.witness.effects_by_key().items() if count > 1}
        assert not repeated, f"more than one thing happened under the keys {repeated}"
