"""PostgreSQL stops as in a crash and starts again in the middle of fifty jobs. What it acknowledged holds."""

import signal

from tests.processes import load
from tests.processes.client import Client


def test_restarted_in_the_middle(client: Client) -> None:
    jobs = load.begin(client)
    client.child("postgres").restart(signal.SIGQUIT)
    client.until_finished(*jobs)
    load.assert_done_once(client, jobs)
    assert client.events(jobs, *load.INTERVENTIONS) == []
