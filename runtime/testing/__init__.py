"""For the tests of agents and of node kinds: jobs run in this process, without workers, a broker or a waiting clock.

    job = run(Job.objects.submit("refund", {"order_id": "1001"}))
    assert job.status == "completed"

Inside Django's `TestCase` as well: everything happens on the test's own connection.
"""

from runtime.testing.inprocess import InProcess, run
from runtime.testing.kinds import PROMISES, BrokenPromise, KindCase, check_node_kind, fire_timers

__all__ = ["PROMISES", "BrokenPromise", "InProcess", "KindCase", "check_node_kind", "fire_timers", "run"]
