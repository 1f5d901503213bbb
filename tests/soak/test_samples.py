"""What counts as growth."""

from types import SimpleNamespace
from typing import Any

from tests.soak.samples import FEWEST, MAY_GROW, Course, Sampler


def sampler_of(course: Course) -> Sampler:
    stack: Any = SimpleNamespace(programs=[])
    sampler = Sampler(stack)
    sampler.courses["worker-1", "MiB"] = course
    return sampler


def test_a_process_that_grows_all_the_time_is_told():
    leaking = Course([100.0 + number / 2 for number in range(160)])
    assert leaking.growth == 40.0 > MAY_GROW["MiB"]
    assert sampler_of(leaking).growths() == ["worker-1 took 40 MiB more at the end than when it was warm"]


def test_one_that_warms_up_and_stays_is_not():
    warming = Course([50.0, 80.0, 110.0, 120.0, *[130.0] * FEWEST])
    assert sampler_of(warming).growths() == []


def test_few_samples_say_nothing():
    assert Course([1.0, 1000.0] * (FEWEST // 2 - 1)).growth == 0.0
