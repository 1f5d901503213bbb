"""Inngest (#2263): waits did not count, and when they woke together the limit was exceeded."""

from runtime import limits
from runtime.graph import Graph
from tests.engine.driving import submit
from tests.engine.test_call_limits import limited

__all__ = ["limited"]


def test_steps_that_wake_together_pass_the_limit_one_by_one(limited, drive, outside, clock):
    limited("charge", concurrency=1)
    most = []

    def asked():
        most.append(sum(each["calling"] for each in limits.usage() if each["name"] == "charge"))
        return {"charged": 1}

    outside.after["charge"].extend([asked] * 3)
    graph = Graph()
    graph.wait("go", signal="go") >> graph.tool("pay", "charge", amount=1)
    jobs = [drive(submit(graph)) for _ in range(3)]
    for job in jobs:
        job.signal("go")
    for _ in range(5):
        jobs = [drive(job) for job in jobs]
        clock.forward(seconds=30)
    assert [job.status for job in jobs] == ["completed"] * 3
    assert max(most) == 1
