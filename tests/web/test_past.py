"""A job's past over the API and on its pages: states, differences, and going on with other code."""

from uuid import uuid4

import pytest

from runtime import diffs, snapshots
from runtime.api.views import past
from runtime.models import Job
from tests.engine.driving import calling, doing, submit
from tests.web.test_api import fields, problem


@pytest.fixture
def paid(job_of):
    graph = calling("charge", amount=3)
    graph.handle("it") >> graph.function("after", "say", value="done")
    return job_of(None, graph=graph.build())


def test_the_state_after_every_event_is_that_of_the_fold(api, paid):
    viewer = api("viewer")
    for seq in range(paid.seq + 1):
        told = viewer.get(f"jobs/{paid.pk}/state", seq=seq).json()
        assert (told.pop("job"), told.pop("events")) == (str(paid.pk), paid.seq)
        assert told == snapshots.state_at(paid, seq).as_json()
    assert viewer.get(f"jobs/{paid.pk}/state").json()["status"] == "completed"


def test_two_states_differ_by_name(api, paid):
    told = api("auditor").get(f"jobs/{paid.pk}/diff", **{"from": 2}).json()
    assert told["job"]["status"] == ["pending", "completed"]
    assert told["steps"]["after"]["status"] == ["blocked", "completed"]
    assert told["ledger"] == {"it.charge#0": [None, "committed"]}
    assert told["results"]["after"] == [None, "done"]
    assert (told["calls"], told["withheld"]) == ({}, [])

    back = api("auditor").get(f"jobs/{paid.pk}/diff", **{"from": paid.seq, "to": 2}).json()
    assert back["results"]["after"] == ["done", None]


def test_a_job_differs_from_its_fork(api, paid, go_on):
    fork = go_on(paid.fork("it", step_input={"amount": 1}))
    told = api("auditor").get(f"jobs/{paid.pk}/diff", other=fork.pk).json()
    assert told["calls"]["it.charge#0"]["arguments"] == [{"amount": 3.0}, {"amount": 1.0}]
    assert told == {**diffs.of_jobs(paid, fork).as_json(), "withheld": []}


def test_payloads_of_a_diff_are_for_those_who_may_see_them(api, paid, go_on):
    fork = go_on(paid.fork("it", step_input={"amount": 1}))
    for query in ({}, {"other": fork.pk}):
        answer = api("viewer").get(f"jobs/{paid.pk}/diff", **query)
        told = answer.json()
        assert (told["results"], told["calls"], told["withheld"]) == (None, None, ["results", "calls"])
        assert b"done" not in answer.content and b"amount" not in answer.content


def test_a_diff_of_very_many_results_tells_what_became_of_the_steps_alone(api, paid, monkeypatch):
    monkeypatch.setattr(past, "MOST_PAYLOADS", 1)
    told = api("auditor").get(f"jobs/{paid.pk}/diff").json()
    assert (told["results"], told["withheld"]) == (None, ["results", "calls"])
    assert told["steps"]["after"]["status"] == [None, "completed"]
    assert api("auditor").get(f"jobs/{paid.pk}/diff", to=2).json()["withheld"] == []


def test_events_that_are_not_there_are_refused_with_their_place(api, paid):
    viewer, many = api("viewer"), paid.seq + 1
    for path, query, field in (
        ("state", {"seq": many}, "seq"),
        ("state", {"seq": "-1"}, "seq"),
        ("state", {"seq": "9" * 40}, "seq"),
        ("diff", {"from": many}, "from"),
        ("diff", {"to": many}, "to"),
        ("diff", {"other": "x"}, "other"),
        ("diff", {"other": paid.pk, "to": 1}, "other"),
    ):
        answer = problem(viewer.get(f"jobs/{paid.pk}/{path}", **query), 422, "invalid-input")
        assert fields(answer) == [field], query


def test_the_past_of_a_job_is_for_those_who_may_see_the_job(api, paid, user_of, job_of):
    stranger = api("submitter", "anna")
    for path in ("state", "diff"):
        problem(stranger.get(f"jobs/{paid.pk}/{path}"), 404, "not-found")
        problem(api(None).get(f"jobs/{paid.pk}/{path}"), 401, "not-authenticated")
    own = job_of("echo", by=user_of("submitter", "anna"))
    problem(stranger.get(f"jobs/{own.pk}/diff", other=paid.pk), 404, "not-found")
    problem(stranger.get(f"jobs/{own.pk}/diff", other=uuid4()), 404, "not-found")


def test_an_operator_lets_a_held_job_go_on_with_the_code_that_is_here(api, go_on, settings):
    settings.AETHERIS = {**settings.AETHERIS, "ON_CODE_CHANGE": "block"}
    job = submit(doing(lambda context: "new"))
    Job.objects.filter(pk=job.pk).update(code=dict.fromkeys(job.code, "0" * 16))
    assert go_on(job).status == "waiting"

    problem(api("viewer").post(f"jobs/{job.pk}/adopt", {"why": "mine"}), 403, "forbidden")
    answer = api("operator").post(f"jobs/{job.pk}/adopt", {"why": "agreed"})
    assert answer.status_code == 200, answer.content
    assert go_on(job).status == "completed"
    acted = job.events.get(type="operator_acted")
    assert acted.data["verb"] == "adopt"
    problem(api("operator").post(f"jobs/{job.pk}/adopt", {"why": "late"}), 409, "job-finished")
