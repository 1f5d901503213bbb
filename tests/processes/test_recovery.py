"""How long a step waits when its worker is killed."""

import time
from statistics import median

from tests.processes.client import RECOVERY, Client

KILLS = 5


def test_the_next_attempt_starts_within_eight_seconds_of_a_kill(client: Client) -> None:
    took = []
    for _ in range(KILLS):
        client.wait_whole()
        job = client.submit("long", seconds=300)
        step = client.until_running(job, "work")
        killed_at = time.time()
        client.child_of(step).kill()
        took.append(client.recovery(job, "work", killed_at))
        job.cancel(by="test", why="measured")

    figures = ", ".join(f"{each:.1f}" for each in took)
    print(f"recovery after kill -9: {figures} s; median {median(took):.1f} s, worst {max(took):.1f} s")
    assert max(took) <= RECOVERY, figures
