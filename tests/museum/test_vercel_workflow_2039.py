"""vercel/workflow (#2039): two engines inserted the same step."""

import pytest
from django.db import IntegrityError

from runtime.models import Job


def test_of_two_submits_of_one_key_at_once_one_makes_the_steps(pair):
    for number in range(20):

        def submits(key=f"k{number}"):
            return Job.objects.submit("diamond", 1, idempotency_key=key)

        one, other = pair.at_once(submits, submits)
        assert one.pk == other.pk
    assert [job.steps.count() for job in Job.objects.all()] == [4] * 20


def test_the_database_takes_no_second_step_of_the_same_key():
    step = Job.objects.submit("echo", 1).steps.get()
    step.pk = None
    with pytest.raises(IntegrityError, match="aetheris_step_key"):
        step.save(force_insert=True)
