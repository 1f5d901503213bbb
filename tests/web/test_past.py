"""A job's past over the API and on its pages: states, differences, and going on with other code."""

from uuid import uuid4

import pytest

from runtime import diffs, snapshots
from runtime.api.views import past
from runtime.graph import Graph
from runtime.models import Job
from tests.agents_app.world import world
from tests.engine.driving import calling, doing, submit
from tests.web.test_api import fields, problem
from tests.web.test_pages import text_of


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


# Pages


def past_of(job, rest):
    return f"/trace/jobs/{job.pk}/{rest}"


def test_the_page_of_a_job_leads_to_the_state_after_each_event_and_to_what_changed(browser_of, paid):
    auditor = browser_of("auditor")
    home = auditor.get(f"/trace/jobs/{paid.pk}/").content.decode()
    for seq in range(1, paid.seq + 1):
        assert past_of(paid, f"state/{seq}/") in home
    assert past_of(paid, f"diff/0..{paid.seq}/") in home

    shown = auditor.get(past_of(paid, "state/3/"))
    assert f"after event 3 of {paid.seq}" in text_of(shown)
    for link in ("state/2/", "state/4/", "diff/2..3/", f"diff/3..{paid.seq}/", "state/3.json"):
        assert past_of(paid, link) in shown.content.decode()


def test_the_page_of_a_difference_tells_what_the_json_beside_it_tells(browser_of, paid):
    auditor = browser_of("auditor")
    text = text_of(auditor.get(past_of(paid, f"diff/2..{paid.seq}/")))
    assert "after status blocked completed" in text
    assert "it.charge#0 call – committed" in text
    assert "after result – done" in text
    told = auditor.get(past_of(paid, f"diff/2..{paid.seq}.json")).json()
    assert told["results"]["after"] == [None, "done"]
    state = auditor.get(past_of(paid, "state/2.json")).json()
    assert (state["seq"], state["steps"]["after"]["status"]) == (2, "blocked")
    assert "Nothing differs" in text_of(auditor.get(past_of(paid, "diff/2..2/")))
    assert "There was nothing yet" in text_of(auditor.get(past_of(paid, "state/0/")))


def test_two_events_are_chosen_in_a_form(browser_of, paid):
    viewer = browser_of("viewer")
    chosen = viewer.get(past_of(paid, "diff/"), {"from": 1, "to": 4})
    assert chosen["Location"] == past_of(paid, "diff/1..4/")
    for wrong in ({}, {"from": "x", "to": 1}, {"from": 1, "to": "9" * 40}):
        assert viewer.get(past_of(paid, "diff/"), wrong).status_code == 404


def test_pages_of_the_past_show_payloads_to_those_who_may_see_them(browser_of, paid):
    for suffix in ("/", ".json"):
        answer = browser_of("viewer").get(past_of(paid, f"diff/0..{paid.seq}{suffix}"))
        assert answer.status_code == 200 and "done" not in answer.content.decode()
    assert "Results are not shown" in text_of(browser_of("viewer").get(past_of(paid, "diff/0..4/")))


def test_events_and_jobs_that_are_not_there_have_no_page(browser_of, paid, client):
    anna = browser_of("submitter", "anna")
    for rest in ("state/1", "diff/1..2"):
        for suffix in ("/", ".json"):
            assert anna.get(past_of(paid, rest + suffix)).status_code == 404
            assert client.get(past_of(paid, rest + suffix))["Location"].startswith("/login/")
    for rest in (f"state/{paid.seq + 1}/", f"state/{10**30}/", f"diff/1..{paid.seq + 1}.json", "diff/x..1/"):
        assert browser_of("viewer").get(past_of(paid, rest)).status_code == 404


def test_what_steps_answer_is_text_on_the_pages_of_the_past(browser_of, job_of):
    world.doings["it"] = lambda context: "<script>alert(1)</script>\u202e"
    graph = doing(world.doings["it"])
    graph.wait("told", signal="<b>${input}</b>")
    job = job_of(None, 1, graph=graph.build())
    auditor = browser_of("auditor")
    pages = [auditor.get(past_of(job, rest)) for rest in (f"diff/0..{job.seq}/", f"state/{job.seq}/")]
    for shown in pages:
        page = shown.content.decode()
        assert "<script>alert" not in page and "<b>1" not in page and "\u202e" not in page
    assert "<script>alert(1)</script>⟦U+202E⟧" in text_of(pages[0])


def test_a_page_of_a_job_with_very_many_steps_shows_the_first_and_names_the_rest(
    browser_of, job_of, monkeypatch
):
    monkeypatch.setattr("forensics.views.past.ROWS_SHOWN", 5)
    graph = Graph()
    [graph.function(f"s{number}", "say", value=1) for number in range(9)]
    job = job_of(None, graph=graph.build())
    assert "And 4 more" in text_of(browser_of("viewer").get(past_of(job, f"state/{job.seq}/")))
    assert "more: all of it" in text_of(browser_of("viewer").get(past_of(job, f"diff/0..{job.seq}/")))
