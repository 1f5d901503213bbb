"""LangGraph.js (#1138): checkpoints grew without bound, since each held everything before it.

Nothing is deleted here yet, either; but a step costs the same whatever came before it, and a large value is kept once.
"""

from runtime.graph import Graph
from runtime.models import Blob, Event
from tests.engine.driving import submit


def chain_of(count, value):
    graph = Graph()
    previous = graph.function("s0", "say", value=value)
    for number in range(1, count):
        previous = graph.function(f"s{number}", "say", value=previous)
    return graph


def test_the_hundredth_step_writes_as_much_as_the_second(drive):
    job = drive(submit(chain_of(100, "x" * 100)))
    sizes = [
        sum(len(bytes(event.header)) for event in Event.objects.filter(job=job, step=f"s{number}"))
        for number in (2, 99)
    ]
    assert sizes[1] < sizes[0] * 1.1


def test_a_large_value_that_goes_through_twenty_steps_is_kept_once(drive):
    before = Blob.objects.count()
    job = drive(submit(chain_of(20, "${input}"), "x" * 100_000))
    assert job.result == "x" * 100_000
    large = [blob for blob in Blob.objects.all() if blob.value == job.result]
    assert (len(large), Blob.objects.count() - before) == (1, 2)  # and the graph
