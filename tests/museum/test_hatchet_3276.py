"""Hatchet (#3276) and Inngest: a NUL byte, or an event that was no object, left a run running for ever."""

import pytest

from runtime.exceptions import InputInvalid
from runtime.models import Job
from tests.engine.driving import doing, last_error, submit


@pytest.mark.parametrize("value", ["a\x00b", {"k\x00": 1}, "\ud800", float("nan")])
def test_what_cannot_be_kept_is_refused_at_the_door(value):
    with pytest.raises(InputInvalid):
        Job.objects.submit("echo", value)
    assert not Job.objects.exists()


@pytest.mark.parametrize("result", ["a\x00b", {1, 2}, object()])
def test_a_result_that_cannot_be_kept_fails_its_job_visibly_and_no_other(result, drive):
    bad, good = submit(doing(lambda context: result)), Job.objects.submit("echo", "fine")
    assert (drive(bad).status, drive(good).result) == ("failed", "fine")
    assert last_error(bad)["type"]


@pytest.mark.parametrize("body", ["[]", '"text"', "1", "null", '{"name": "go\\u0000"}'])
def test_a_signal_that_is_no_object_is_refused_and_the_job_goes_on(body, api, drive):
    job = drive(Job.objects.submit("wait"))
    assert api.post(f"jobs/{job.pk}/signals", body).status_code in (400, 422)
    job.signal("go", 7)
    assert drive(job).result == 7
