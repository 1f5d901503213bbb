"""Events never run backwards, and what is due goes by the clock all the same."""

from datetime import timedelta

from runtime import clock
from runtime.graph import Graph
from runtime.models import Step
from tests.agents_app.world import world
from tests.engine.driving import run_once, step_of, submit


def test_after_a_clock_that_was_a_year_ahead_a_retry_is_due_in_its_own_time(worker):
    graph = Graph()
    graph.function("a", "do", what="fail", retry={"backoff": "30s", "jitter": False})
    world.doings["fail"] = failing
    job = submit(graph)
    clock.shift(timedelta(days=365))
    job.pause()
    clock.shift(timedelta(0))
    job.resume()

    run_once(job, worker, "a")

    step = step_of(job, "a")
    assert step.run_after and step.ready_at and step.run_after - step.ready_at == timedelta(seconds=30)
    assert Step.objects.filter(pk=step.pk, run_after__lt=clock.DatabaseNow() + timedelta(minutes=1)).exists()
    times = list(job.events.values_list("at", flat=True))
    assert times == sorted(times)


def failing(context):
    raise ValueError("again")
