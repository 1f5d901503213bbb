"""Celery on Redis: tasks with a countdown lay in the memory of workers, and came twice."""

from celery import current_app

from runtime import recovery
from runtime.graph import Graph
from tests.engine.driving import doing, run_once, step_of, submit


def test_pauses_and_timers_are_rows_and_no_message_carries_a_time(worker, drive, clock, monkeypatch):
    sent = []
    monkeypatch.setattr(current_app, "send_task", lambda *args, **keys: sent.append(keys))

    def once_broken(context):
        if context.step.attempt == 1:
            raise TimeoutError("for now")

    graph = Graph()
    graph.timer("t", "30d")
    retried, timed = submit(doing(once_broken)), drive(submit(graph))
    run_once(retried, worker)
    assert step_of(retried).run_after is not None
    assert timed.waits.get(closed_at=None).deadline_at is not None
    clock.forward(days=31)
    worker.beat()
    assert recovery.wake_due() == 1
    assert (drive(retried).status, drive(timed).status) == ("completed", "completed")
    assert not any({"countdown", "eta", "expires"} & keys.keys() for keys in sent)
