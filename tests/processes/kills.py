"""Workers that are killed while they run a step, one after another, and how long each step then waits."""

from __future__ import annotations

import time
from collections.abc import Iterator

from django.db import connection

from tests.processes.client import Client


def recoveries(client: Client, kills: int) -> Iterator[float]:
    """Seconds from each kill to the next attempt."""
    for _ in range(kills):
        client.wait_whole()
        client.until(_has_looked_for_long, "the sweeper's session to have lasted")
        job = client.submit("long", seconds=300)
        step = client.until_running(job, "work")
        killed_at = time.time()
        client.child_of(step).kill()
        yield client.recovery(job, "work", killed_at)
        job.cancel(by="test", why="measured")


def _has_looked_for_long() -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT max(now() - backend_start) > '6 s' FROM pg_stat_activity WHERE application_name = 'sweeper-1'"
        )
        (is_long,) = cursor.fetchone()
        return bool(is_long)
