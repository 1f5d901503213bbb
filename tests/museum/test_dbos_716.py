"""DBOS (dbos-transact-py #716): PostgreSQL restarted while runs were recovered, and they were lost for good."""

import pytest
from django.db import OperationalError, connection

from runtime import batches, recovery
from runtime.models import Job
from runtime.ports import CrashPoint
from tests.engine.driving import crash_at, run_once


def test_a_sweep_that_loses_postgres_in_the_middle_forgets_nothing(worker, drive, clock, monkeypatch):
    jobs = [Job.objects.submit("echo", number) for number in range(6)]
    for job in jobs:
        with crash_at(CrashPoint.AFTER_CLAIM):
            run_once(job, worker, "echo")
    clock.forward(seconds=20)
    monkeypatch.setattr(batches, "TOGETHER", 2)
    sends, real = iter(range(9)), batches._send

    def send(turns):
        if next(sends) == 1:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        return real(turns)

    monkeypatch.setattr(batches, "_send", send)
    with pytest.raises(OperationalError):
        recovery.rescue_lost()
    connection.close()
    worker.beat()
    clock.forward(seconds=20)
    assert recovery.rescue_lost() == 4
    worker.beat()
    assert [drive(job).result for job in jobs] == list(range(6))
