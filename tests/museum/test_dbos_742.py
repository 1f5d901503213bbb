"""DBOS (dbos-transact-py #742), Hatchet (#1022, #552): a living worker was taken for dead; the effect came twice."""

from runtime import recovery
from tests.engine.driving import calling, entry_of, run_once, submit, told


def test_a_worker_that_was_wrongly_taken_for_dead_acts_once_and_its_answer_counts(
    worker, other, outside, clock
):
    job = submit(calling("charge"))

    def taken_over():
        clock.forward(minutes=2)
        other.beat()
        assert recovery.rescue_lost() == 1
        run_once(job, other)
        return {"charged": 7}

    outside.after["charge"].append(taken_over)
    run_once(job, worker)
    assert len(outside.effects("charge")) == 1
    assert (entry_of(job).state, told(job).count("step_completed")) == ("committed", 0)
    other.beat()
    run_once(job, other)
    assert (job.status, job.result, len(outside.effects("charge"))) == ("completed", {"charged": 7}, 1)
