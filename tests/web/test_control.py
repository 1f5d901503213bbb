"""The API for operators: forks, many jobs at once, agents and queues that rest."""

from uuid import uuid4

import pytest
from django.contrib.auth.models import Group, Permission

from runtime.models import Hold, Job
from tests.agents_app.world import world
from tests.engine.driving import calling
from tests.web.test_api import fields, problem


@pytest.fixture
def paid(job_of):
    graph = calling("charge", amount=3)
    graph.handle("it") >> graph.function("after", "say", value="done")
    return job_of(None, graph=graph.build())


def test_a_fork_is_planned_first_and_begun_without_dry_run(api, paid):
    look = api("operator").post(f"jobs/{paid.pk}/fork", {"step": "it"})
    assert look.status_code == 200, look.content
    plan = look.json()["plan"]
    assert (plan["again"], look.json()["job"]) == (["it", "after"], None)
    assert plan["effects"] == [
        {"step": "it", "tool": "charge", "state": "committed", "arguments": {"amount": 3.0}}
    ]
    assert Job.objects.count() == 1

    body = {"step": "it", "step_input": {"amount": 1}, "input": 7, "dry_run": False, "why": "again"}
    begun = api("operator").post(f"jobs/{paid.pk}/fork", body)
    assert begun.status_code == 201
    fork = Job.objects.get(pk=begun.json()["job"]["id"])
    assert (fork.input, fork.steps.get(key="it").config["inputs"]) == (7, {"amount": 1})


def test_a_fork_that_cannot_be_is_refused(api, paid):
    address = f"jobs/{paid.pk}/fork"
    problem(api("operator").post(address, {"step": "nowhere"}), 404, "not-found")
    problem(api("operator").post(address, {}), 422, "invalid-input")
    problem(api("viewer").post(address, {"step": "it"}), 403, "forbidden")
    wrong = {"step": "it", "step_input": {"amount": "much"}, "dry_run": False}
    problem(api("operator").post(address, wrong), 422, "invalid-graph")


def test_a_fork_gives_nobody_payloads_to_see_that_they_may_not_see_in_its_origin(api, paid):
    operator = Group.objects.create(name="blind operator")
    names = ("view_job", "operate_job", "submit_job")
    operator.permissions.set(Permission.objects.filter(codename__in=names))
    blind = api("blind operator")
    look = blind.post(f"jobs/{paid.pk}/fork", {"step": "after"})
    assert look.status_code == 200, look.content
    problem(blind.post(f"jobs/{paid.pk}/fork", {"step": "after", "dry_run": False}), 403, "forbidden")
    assert Job.objects.count() == 1


def test_many_jobs_are_looked_at_and_then_cancelled(api):
    jobs = [Job.objects.submit("echo") for _ in range(3)]
    body = {"verb": "cancel", "filter": {"agent": "echo"}, "why": "recalled"}
    look = api("operator").post("bulk", body)
    assert look.status_code == 200, look.content
    assert (look.json()["count"], look.json()["operation"]) == (3, None)
    assert [job["id"] for job in look.json()["sample"]] == [str(job.pk) for job in jobs]

    done = api("operator").post("bulk", {**body, "dry_run": False})
    assert done.status_code == 201
    operation = done.json()["operation"]
    assert (operation["total"], operation["done"], operation["refused"]) == (3, 3, 0)
    assert operation["finished_at"] is not None
    assert set(Job.objects.values_list("status", flat=True)) == {"cancelled"}
    assert api("operator").get(f"bulk/{operation['id']}").json() == operation


def test_an_operation_that_a_request_did_not_finish_is_continued(api, monkeypatch):
    [Job.objects.submit("echo") for _ in range(3)]
    monkeypatch.setattr("runtime.api.views.control.SECONDS_OF_A_REQUEST", 0)
    body = {"verb": "pause", "filter": {"status": ["pending"]}, "dry_run": False}
    operation = api("operator").post("bulk", body).json()["operation"]
    assert (operation["done"], operation["finished_at"]) == (1, None)
    for _ in range(3):
        operation = api("operator").post(f"bulk/{operation['id']}/continue").json()
    assert operation["done"] == 3
    assert operation["finished_at"] is not None


def test_jobs_that_refuse_are_told_with_their_reason(api, job_of):
    done = job_of("echo")
    body = {"verb": "retry", "filter": {"ids": [str(done.pk)]}, "dry_run": False}
    [refusal] = api("operator").post("bulk", body).json()["operation"]["refusals"]
    assert refusal["job"] == str(done.pk)
    assert "only a failed job" in refusal["reason"]


def test_a_bulk_operation_needs_a_verb_a_filter_and_the_right_to_see_all_jobs(api):
    operator = api("operator")
    assert fields(problem(operator.post("bulk", {}), 422, "invalid-input")) == ["verb", "filter"]
    problem(operator.post("bulk", {"verb": "cancel", "filter": {}}), 422, "invalid-input")
    problem(operator.post("bulk", {"verb": "erase", "filter": {"agent": "echo"}}), 422, "invalid-input")
    problem(operator.get(f"bulk/{uuid4()}"), 404, "not-found")
    for role in ("viewer", "submitter"):
        problem(api(role).post("bulk", {"verb": "cancel", "filter": {"agent": "echo"}}), 403, "forbidden")


@pytest.mark.parametrize("kind, name", [("agents", "echo"), ("queues", "background")])
def test_an_agent_and_a_queue_rest_and_go_on(kind, name, api):
    operator = api("operator")
    held = operator.post(f"{kind}/{name}/pause", {"why": "audit"}).json()
    assert (held["name"], held["why"], held["released_at"]) == (name, "audit", None)
    assert [one["name"] for one in operator.get("holds").json()] == [name]
    gone = operator.post(f"{kind}/{name}/resume", {"why": "done"}).json()
    assert gone["released_why"] == "done"
    assert operator.get("holds").json() == []
    problem(operator.post(f"{kind}/{name}/resume", {}), 409, "not-paused")


def test_what_does_not_exist_cannot_rest_and_not_everybody_may_say_so(api):
    problem(api("operator").post("agents/ehco/pause", {}), 422, "invalid-input")
    problem(api("operator").post("queues/defualt/pause", {}), 422, "invalid-input")
    problem(api("submitter").post("agents/echo/pause", {}), 403, "forbidden")
    assert not Hold.objects.exists()
    assert world.calls == []
