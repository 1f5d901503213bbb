"""Schedules and time limits over the API: who may, and what is refused where."""

from django.contrib.auth.models import Permission

from runtime.models import Job
from tests.web.test_api import fields, problem

HOURLY = {"agent": "echo", "name": "hourly", "every": "1h", "input": {"text": "secret"}}


def test_an_operator_makes_a_schedule_looks_at_it_lets_it_rest_and_runs_it(api):
    operator = api("operator")
    made = operator.post("schedules", HOURLY)
    assert made.status_code == 200
    assert made.json() == operator.get("schedules/hourly").json()
    assert (made.json()["timing"], made.json()["enabled"]) == ("every 1h", True)
    assert made.json()["next_at"] > made.json()["last_tick_at"]
    assert [row["name"] for row in operator.get("schedules").json()] == ["hourly"]
    assert operator.post("schedules/hourly/pause").json()["enabled"] is False
    assert operator.get("schedules/hourly").json()["next_at"] is None
    assert operator.post("schedules/hourly/resume").json()["enabled"] is True
    run = operator.post("schedules/hourly/run")
    assert (run.status_code, run.json()["agent"]) == (201, "echo")
    assert operator.get("schedules/hourly").json()["last_job"] == run.json()["id"]


def test_who_may_not_see_payloads_sees_that_there_is_an_input(api):
    api("operator").post("schedules", HOURLY)
    seen = api("viewer").get("schedules/hourly").json()
    assert (seen["input"], seen["withheld"]) == (None, ["input"])


def test_who_may_not_see_payloads_does_not_get_the_input_by_running_it(api, user_of):
    """The job would be their own."""
    api("operator").post("schedules", HOURLY)
    user_of("submitter", "blind").user_permissions.add(Permission.objects.get(codename="operate_job"))
    problem(api("submitter", "blind").post("schedules/hourly/run"), 403, "forbidden")
    assert Job.objects.count() == 0


def test_schedules_are_for_those_who_may(api):
    problem(api("submitter").get("schedules"), 403, "forbidden")
    problem(api("viewer").post("schedules", HOURLY), 403, "forbidden")
    api("operator").post("schedules", HOURLY)
    for verb in ("pause", "resume", "run"):
        problem(api("viewer").post(f"schedules/hourly/{verb}"), 403, "forbidden")
    problem(api("operator").get("schedules/none"), 404, "not-found")


def test_what_makes_no_schedule_is_refused_with_its_place(api):
    for keys, place in (
        ({"every": "soon"}, "every"),
        ({"cron": "x"}, "cron"),
        ({"overlap": "pile"}, "overlap"),
    ):
        refused = api("operator").post("schedules", {**HOURLY, "every": None, **keys})
        assert fields(problem(refused, 422, "invalid-input")) == [place]


def test_a_job_is_given_a_timeout_and_a_deadline(api):
    limits = {"timeout": "2h", "deadline": "2030-01-31T09:00:00Z"}
    job = api("submitter").post("jobs", {"agent": "echo", **limits}).json()
    assert (job["timeout"], job["deadline_at"]) == (7200.0, "2030-01-31T09:00:00Z")
    assert job["overdue_at"] is not None
    for keys, place in (({"timeout": "soon"}, "timeout"), ({"deadline": "soon"}, "deadline")):
        refused = api("submitter").post("jobs", {"agent": "echo", **keys})
        assert fields(problem(refused, 422, "invalid-input")) == [place]
    assert Job.objects.count() == 1
