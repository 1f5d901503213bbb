"""How long a step waits when its worker is killed."""

import time

from tests.processes import LONG
from tests.processes.client import RECOVERY, Client

KILLS = 20 if LONG else 3


def test_the_next_attempt_starts_within_eight_seconds_of_a_kill(client: Client) -> None:
    for _ in range(KILLS):
        client.wait_whole()
        job = client.submit("long", seconds=300)
        step = client.until_running(job, "work")
        killed_at = time.time()
        client.child_of(step).kill()
        assert client.recovery(job, "work", killed_at) <= RECOVERY
        job.cancel(by="test", why="measured")
