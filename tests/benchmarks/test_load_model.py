"""The load model obeys what every queue obeys."""

from dataclasses import replace

import pytest

from benchmarks.load_model import Costs, Shape, limits, steps_per_second

COSTS = Costs(worker_ms=0.6, database_ms=0.4, redis_ms=0.05, commits=1.0, wal_bytes=2000, flush_ms=1.0)


def test_a_lone_job_takes_the_sum_of_what_a_step_costs():
    alone = steps_per_second(COSTS, Shape(workers=1, cores=8, jobs=1))
    assert alone == pytest.approx(1000 / (0.6 + 0.4 + 0.05 + 1.0))


def test_more_workers_never_make_it_slower_and_never_pass_a_limit():
    before = 0.0
    for workers in (1, 2, 4, 8, 16, 64):
        shape = Shape(workers, cores=4, jobs=1000)
        now = steps_per_second(COSTS, shape)
        assert before <= now <= min(limits(COSTS, shape).values())
        before = now


def test_with_many_jobs_the_narrowest_place_decides():
    shape = Shape(workers=64, cores=64, database_cores=2, jobs=1000)
    assert steps_per_second(COSTS, shape) == pytest.approx(2000 / 0.45, rel=0.05)
    assert min(limits(COSTS, shape), key=limits(COSTS, shape).__getitem__) == "database processors"


def test_one_worker_is_one_interpreter():
    quick = replace(COSTS, commits=0.05)
    assert steps_per_second(quick, Shape(workers=1, cores=64, jobs=1000)) == pytest.approx(
        1000 / 0.6, rel=0.1
    )


def test_one_worker_makes_one_call_at_a_time():
    slow_disk = Shape(workers=1, cores=64, jobs=1000)
    assert steps_per_second(COSTS, slow_disk) == pytest.approx(1000 / (0.45 + 1.0), rel=0.05)
