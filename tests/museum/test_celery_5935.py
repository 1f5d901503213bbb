"""Celery (#5935, #5306, #3430): Redis gave a running task to a second worker when its visibility timeout was over."""

from celery import current_app

from runtime.execution import run_step
from tests.engine.driving import calling, step_of, submit, told


def test_a_message_that_comes_again_while_its_step_runs_loses_the_claim(worker, other, outside):
    job = submit(calling("charge"))
    pk = step_of(job).pk
    outside.after["charge"].append(lambda: [run_step(pk, other) for _ in range(5)] and {"charged": 1})
    run_step(pk, worker)
    run_step(pk, other)
    assert (told(job).count("step_claimed"), len(outside.effects("charge"))) == (1, 1)


def test_messages_are_acknowledged_before_their_steps_run():
    assert not current_app.conf.task_acks_late and not current_app.conf.task_reject_on_worker_lost
