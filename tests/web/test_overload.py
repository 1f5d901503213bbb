"""A full queue over the API: 429, with when to come back."""

from typing import Any

from runtime import backlog
from runtime.models import Job
from tests.web.test_api import problem


def test_a_full_queue_answers_429_with_retry_after(api, settings: Any):
    settings.AETHERIS = {**settings.AETHERIS, "MAX_READY_STEPS": 0}
    backlog.forget()
    accepted = api("submitter").post("jobs", {"agent": "echo"})
    assert accepted.status_code == 201
    backlog.forget()
    refused = api("submitter").post("jobs", {"agent": "echo"})
    problem(refused, 429, "overloaded")
    assert refused["Retry-After"] == "5"
    assert Job.objects.count() == 1
    backlog.forget()
