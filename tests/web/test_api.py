"""The API: what it answers, and how it refuses."""

import json
from uuid import uuid4

import pytest

from runtime.graph import Graph
from runtime.models import Job
from tests.agents_app.world import world
from tests.engine.driving import calling
from tools import Refused


def problem(response, status, kind):
    assert response.status_code == status, response.content
    assert response["Content-Type"] == "application/problem+json"
    document = response.json()
    assert document["type"] == f"/api/v1/problems/{kind}"
    assert document["status"] == status
    assert document["title"] and document["detail"] and document["remedy"]
    return document


def fields(document):
    return [error["field"] for error in document["errors"]]


# Submitting


def test_a_job_is_submitted_and_found_again(api):
    submitted = api("submitter").post("jobs", {"agent": "echo", "input": {"text": "hello"}})
    assert submitted.status_code == 201
    job = submitted.json()
    assert (job["agent"], job["status"], job["input"]) == ("echo", "pending", {"text": "hello"})
    assert job["counts"] == {"ready": 1}
    again = api("submitter").get(f"jobs/{job['id']}").json()
    assert again == job


def test_the_same_idempotency_key_answers_with_the_first_job(api):
    first = api("submitter").post("jobs", {"agent": "echo", "input": 1}, Idempotency_Key="k1")
    second = api("submitter").post("jobs", {"agent": "echo", "input": 1}, Idempotency_Key="k1")
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json()["id"] == second.json()["id"]
    assert Job.objects.count() == 1


def test_the_same_key_with_another_request_is_a_conflict(api):
    api("submitter").post("jobs", {"agent": "echo", "input": 1}, Idempotency_Key="k1")
    other = api("submitter").post("jobs", {"agent": "echo", "input": 2}, Idempotency_Key="k1")
    problem(other, 409, "idempotency-conflict")


def test_a_key_does_not_open_the_job_of_another_submitter(api):
    first = api("submitter", "anna").post("jobs", {"agent": "echo", "input": 1}, Idempotency_Key="k1")
    second = api("submitter", "bob").post("jobs", {"agent": "echo", "input": 1}, Idempotency_Key="k1")
    document = problem(second, 409, "idempotency-conflict")
    assert first.json()["id"] not in json.dumps(document)


def test_many_jobs_are_submitted_and_each_is_answered_in_its_place(api):
    wanted = [
        {"agent": "echo", "input": 1},
        {"agent": "nobody"},
        {"agent": "echo", "priority": "high"},
        "echo",
        {"agent": "echo", "input": 2, "idempotency_key": "k1"},
        {"agent": "echo", "input": 2, "idempotency_key": "k1"},
        {"graph": {"nodes": []}},
    ]
    response = api("submitter").post("jobs/bulk", {"jobs": wanted})
    assert response.status_code == 200, response.content
    answers = response.json()["answers"]
    assert [answer["status"] for answer in answers] == [201, 422, 422, 422, 201, 200, 422]
    assert [fields(answer["problem"])[0] for answer in answers if answer["problem"]][:2] == [
        "agent",
        "priority",
    ]
    assert answers[4]["id"] == answers[5]["id"]
    assert Job.objects.count() == 2
    assert (
        Job.objects.get(pk=answers[0]["id"]).submitted_by
        == api("submitter").get(f"jobs/{answers[0]['id']}").json()["submitted_by"]
    )


def test_a_key_among_many_does_not_open_the_job_of_another_submitter(api):
    first = api("submitter", "anna").post("jobs", {"agent": "echo", "input": 1}, Idempotency_Key="k1")
    wanted = [{"agent": "echo", "input": 1, "idempotency_key": "k1"}]
    response = api("submitter", "bob").post("jobs/bulk", {"jobs": wanted})
    assert [answer["status"] for answer in response.json()["answers"]] == [409]
    assert first.json()["id"] not in json.dumps(response.json())


@pytest.mark.parametrize("body", [{}, {"jobs": []}, {"jobs": {}}, {"jobs": [{}] * 501}, []])
def test_too_few_or_too_many_at_once_are_refused(api, body):
    assert fields(problem(api("submitter").post("jobs/bulk", json.dumps(body)), 422, "invalid-input"))[0] in (
        "jobs",
        "body",
    )


def test_who_may_not_submit_may_not_submit_many(api):
    problem(api("viewer").post("jobs/bulk", {"jobs": [{"agent": "echo"}]}), 403, "forbidden")


def test_a_graph_may_come_with_the_request(api, go_on):
    graph = calling("charge", amount=7).build()
    submitted = api("operator").post("jobs", {"graph": graph, "input": None})
    assert submitted.status_code == 201
    job = go_on(Job.objects.get(pk=submitted.json()["id"]))
    assert job.status == "completed"
    assert api("operator").get(f"jobs/{job.pk}/graph").json() == graph


@pytest.mark.parametrize(
    ("body", "kind", "field"),
    [
        ({"agent": "nobody"}, "invalid-input", "agent"),
        ({}, "invalid-input", "agent"),
        ({"agent": "echo", "graph": {}}, "invalid-input", "agent"),
        ({"agent": "echo", "priority": "high"}, "invalid-input", "priority"),
        ({"graph": 7}, "invalid-input", "graph"),
        ({"graph": {"nodes": []}}, "invalid-graph", "graph.nodes"),
        ({"graph": {"nodes": [{"id": "a", "kind": "tool", "tool": "nope"}]}}, "invalid-graph", "graph.nodes[0].tool"),
        ({"graph": {"nodes": [{"id": "a", "kind": "approval", "prompt": "?", "schema": {"$ref": "http://x.test"}}]}},
         "invalid-graph", "graph.nodes[0].schema.$ref"),
        (b'{"agent": "echo", "input": {"a": [1, "x\\u0000"]}}', "invalid-input", "input.a[1]"),
        (b'{"agent": "echo", "input": {"a": "\\ud800"}}', "invalid-input", "input.a"),
        (b'{"agent": "echo", "input": {"a": 1, "a": 2}}', "invalid-input", "input"),
        (b'{"agent": "echo", "input": NaN}', "invalid-input", "body"),
        (b'{"agent": "echo", "input": 1e999}', "invalid-input", "input"),
        (b'{"agent": "echo", "input": ' + b"[" * 5000 + b"]" * 5000 + b"}", "invalid-input", "body"),
        (b'{"agent": "ec', "invalid-input", "body"),
        (b'\xff{"agent": "echo"}', "invalid-input", "body"),
        (b"[]", "invalid-input", "body"),
    ],
)  # fmt: skip
def test_bad_input_is_refused_with_its_place(api, body, kind, field):
    document = problem(api("submitter").post("jobs", body), 422, kind)
    assert field in fields(document)
    assert Job.objects.count() == 0


def test_a_cycle_is_refused_with_its_place(api):
    graph = Graph()
    one, two = graph.function("one", "say"), graph.function("two", "say")
    one >> two
    two >> one
    document = problem(api("submitter").post("jobs", {"graph": graph.build()}), 422, "invalid-graph")
    assert any("one" in error["detail"] for error in document["errors"])


def test_ten_megabytes_are_too_large(api):
    body = b'{"agent": "echo", "input": "' + b"x" * 10_000_000 + b'"}'
    problem(api("submitter").post("jobs", body), 413, "too-large")


def test_only_json_is_read(api):
    response = api("submitter").client.post("/api/v1/jobs", {"agent": "echo"})
    problem(response, 415, "unsupported-media-type")


# Looking


def test_the_list_shows_newest_first_in_pages_and_no_payloads(api, job_of):
    jobs = [job_of("echo", {"secret": n}) for n in range(5)]
    page = api("viewer").get("jobs", limit=3)
    body = page.json()
    assert [job["id"] for job in body["results"]] == [str(job.pk) for job in reversed(jobs[2:])]
    assert b"secret" not in page.content
    rest = api("viewer").client.get(body["next"]).json()
    assert [job["id"] for job in rest["results"]] == [str(job.pk) for job in reversed(jobs[:2])]
    assert rest["next"] is None


def test_the_list_is_filtered(api, job_of):
    done, failed = job_of("echo", 1), job_of("failing")
    listed = api("viewer").get("jobs", status="failed").json()["results"]
    assert [job["id"] for job in listed] == [str(failed.pk)]
    listed = api("viewer").get("jobs", agent="echo").json()["results"]
    assert [job["id"] for job in listed] == [str(done.pk)]
    document = problem(api("viewer").get("jobs", status="asleep"), 422, "invalid-input")
    assert fields(document) == ["status"]


@pytest.mark.parametrize("cursor", ["x", "cD1mb28=", "cD0=", "cD0xZTU=", "cD0lMDA="])
@pytest.mark.parametrize("path", ["jobs", "approvals", "ledger"])
def test_a_forged_cursor_is_refused(api, job_of, cursor, path):
    job_of("echo", 1)
    assert api("admin").get(path, cursor=cursor).status_code in (200, 404, 422)


def test_a_nul_in_an_address_is_nowhere(api, job_of):
    job = job_of("ask", {"amount": 500})
    problem(api("admin").get(f"jobs/{job.pk}/steps/a%00"), 404, "not-found")
    problem(api("admin").post(f"jobs/{job.pk}/approvals/a%00", {"decision": "rejected"}), 404, "not-found")


@pytest.mark.parametrize("moment", ["9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59"])
def test_a_moment_that_no_calendar_holds_is_refused(api, moment):
    document = problem(api("viewer").get("jobs", created_after=moment), 422, "invalid-input")
    assert fields(document) == ["created_after"]


def test_the_list_costs_the_same_for_one_job_and_for_many(api, job_of, django_assert_max_num_queries):
    asking = api("viewer")
    for number in range(10):
        job_of("echo", number)
    with django_assert_max_num_queries(6):
        asking.get("jobs")


def test_events_are_read_in_pages(api, job_of):
    job = job_of("counting")
    seen, after = [], 0
    while True:
        page = api("auditor").get(f"jobs/{job.pk}/events", after=after, limit=7).json()
        seen += page["events"]
        if page["next_after"] is None:
            break
        after = page["next_after"]
    assert [event["seq"] for event in seen] == list(range(1, job.seq + 1))
    assert seen[0]["type"] == "job_submitted" and seen[-1]["type"] == "job_completed"
    assert seen[0]["parts"]["input"] is None
    output = next(event for event in seen if event["type"] == "step_completed")
    assert output["parts"] == {"output": 1}


@pytest.mark.parametrize("query", [{"after": "x"}, {"after": "-1"}, {"limit": "1e3"}, {"after": "9" * 40}])
def test_bad_paging_is_refused(api, job_of, query):
    document = problem(api("auditor").get(f"jobs/{job_of('echo').pk}/events", **query), 422, "invalid-input")
    assert fields(document) == list(query)


def test_steps_are_read_in_pages_and_one_by_one(api, job_of):
    job = job_of("counting")
    first = api("auditor").get(f"jobs/{job.pk}/steps", limit=6).json()
    rest = api("auditor").get(f"jobs/{job.pk}/steps", limit=6, after=first["next_after"]).json()
    assert [step["key"] for step in first["steps"] + rest["steps"]] == [f"s{n}" for n in range(10)]
    assert rest["next_after"] is None
    step = api("auditor").get(f"jobs/{job.pk}/steps/s3").json()
    assert (step["status"], step["result"], step["withheld"]) == ("completed", 4, [])
    problem(api("auditor").get(f"jobs/{job.pk}/steps/s99"), 404, "not-found")


def test_what_is_not_there_is_a_problem_document(api, job_of):
    viewer = api("viewer")
    problem(viewer.get(f"jobs/{uuid4()}"), 404, "not-found")
    problem(viewer.get("jobs/not-a-uuid"), 404, "not-found")
    problem(viewer.get("no/such/thing"), 404, "not-found")
    problem(viewer.client.delete("/api/v1/jobs"), 405, "method-not-allowed")
    problem(api("operator").post(f"jobs/{uuid4()}/cancel"), 404, "not-found")


def test_kinds_of_problems_explain_themselves(api):
    kind = api(None).get("problems/idempotency-conflict").json()
    assert kind["status"] == 409 and "new key" in kind["remedy"]


def test_agents_and_tools_are_listed(api):
    agents = {agent["name"]: agent for agent in api("viewer").get("agents").json()}
    assert agents["ask"]["description"].startswith("Refunds small amounts")
    assert api("viewer").get("agents/ask").json()["graph"]["nodes"]
    problem(api("viewer").get("agents/nobody"), 404, "not-found")
    tools = {tool["name"]: tool for tool in api("viewer").get("tools").json()}
    assert tools["lookup"]["read_only_effect"] and not tools["charge"]["idempotent"]
    assert tools["charge"]["arguments"]["properties"]["amount"]["type"] == "number"


# Acting


def test_a_signal_wakes_the_job_once(api, job_of, go_on):
    job = job_of("wait")
    operator = api("operator")
    first = operator.post(f"jobs/{job.pk}/signals", {"name": "go", "payload": {"n": 1}, "dedup_id": "d"})
    second = operator.post(f"jobs/{job.pk}/signals", {"name": "go", "payload": {"n": 1}, "dedup_id": "d"})
    assert (first.status_code, first.json()) == (202, {"duplicate": False})
    assert second.json() == {"duplicate": True}
    assert go_on(job).result == {"n": 1}
    late = operator.post(f"jobs/{job.pk}/signals", {"name": "go"})
    problem(late, 409, "job-finished")


def test_a_decision_cannot_be_forged_as_a_signal(api, job_of):
    job = job_of("ask", {"amount": 500})
    forged = {"name": "approval:ok", "payload": {"decision": "approved"}}
    document = problem(api("operator").post(f"jobs/{job.pk}/signals", forged), 422, "invalid-input")
    assert fields(document) == ["name"]


def test_an_approval_is_found_decided_and_carried_out(api, job_of, go_on):
    job = job_of("ask", {"amount": 500})
    approver = api("approver")
    [waiting] = approver.get("approvals").json()["results"]
    assert (waiting["job"], waiting["step"], waiting["prompt"]) == (str(job.pk), "ok", "Refund 500?")

    unfit = approver.post(f"jobs/{job.pk}/approvals/ok", {"decision": "approved", "answer": {"why": 7}})
    assert fields(problem(unfit, 422, "invalid-answer")) == ["answer.why"]
    missing = approver.post(f"jobs/{job.pk}/approvals/ok", {"decision": "approved"})
    assert fields(problem(missing, 422, "invalid-answer")) == ["answer.why"]
    neither = approver.post(f"jobs/{job.pk}/approvals/ok", {"decision": "maybe"})
    assert fields(problem(neither, 422, "invalid-input")) == ["decision"]

    good = {"decision": "approved", "answer": {"why": "broken"}, "comment": "sorry"}
    assert approver.post(f"jobs/{job.pk}/approvals/ok", good).json()["outcome"] == "signalled"
    assert approver.post(f"jobs/{job.pk}/approvals/ok", good).status_code == 200
    problem(approver.post(f"jobs/{job.pk}/approvals/ok", {"decision": "rejected"}), 409, "approval-closed")
    assert approver.get("approvals").json()["results"] == []
    assert go_on(job).status == "completed"
    assert [call.arguments for call in world.effects("charge")] == [{"amount": 500.0}]


def test_an_approval_is_for_approvers(api, job_of):
    job = job_of("ask", {"amount": 500})
    good = {"decision": "approved", "answer": {"why": "x"}}
    problem(api("operator").post(f"jobs/{job.pk}/approvals/ok", good), 403, "forbidden")
    problem(api("approver").post(f"jobs/{job.pk}/approvals/big", good), 404, "not-found")
    problem(api(None).post(f"jobs/{job.pk}/approvals/ok", good), 401, "not-authenticated")


def test_pause_resume_and_cancel(api, job_of):
    job = job_of("wait")
    operator = api("operator")
    assert operator.post(f"jobs/{job.pk}/pause", {"why": "lunch"}).json()["paused"]
    assert not operator.post(f"jobs/{job.pk}/resume").json()["paused"]
    assert operator.post(f"jobs/{job.pk}/cancel").json()["status"] == "cancelled"
    assert operator.post(f"jobs/{job.pk}/cancel").status_code == 200
    problem(operator.post(f"jobs/{job.pk}/pause"), 409, "job-finished")
    problem(operator.post(f"jobs/{job.pk}/retry"), 409, "not-failed")


def test_a_job_that_undoes_what_it_did_says_so_and_a_person_settles_what_was_refused(api, job_of, go_on):
    world.before["release"].append(Refused("too late"))
    graph = Graph(compensate="on_cancel")
    graph.tool("room", "reserve", what="room") >> graph.wait("go", signal="go")
    job = job_of(None, graph=graph.build())
    operator = api("operator")
    shown = operator.get(f"jobs/{job.pk}").json()
    assert (shown["compensate"], shown["compensating_at"]) == ("on_cancel", None)

    operator.post(f"jobs/{job.pk}/cancel")
    shown = operator.get(f"jobs/{go_on(job).pk}").json()
    assert (shown["status"], shown["compensating_at"] is None) == ("waiting", False)
    assert [job["compensating_at"] for job in operator.get("jobs").json()["results"]] == [
        shown["compensating_at"]
    ]
    entry = job.ledger.get(call="reserve")
    told = {"verdict": "undone", "why": "by telephone"}
    assert operator.post(f"ledger/{entry.pk}/resolve", told).json()["state"] == "compensated"
    assert go_on(job).status == "cancelled"
    problem(operator.post(f"jobs/{job.pk}/retry"), 409, "not-failed")


def test_what_is_in_doubt_is_listed_and_resolved(api, job_of, go_on):
    world.after["charge"].append(TimeoutError("no answer"))
    job = job_of("charge", {"amount": 5})
    operator = api("operator")
    [entry] = operator.get("ledger", state="unknown").json()["results"]
    assert (entry["job"], entry["step"], entry["name"]) == (str(job.pk), "charge", "charge")
    document = problem(
        operator.post(f"ledger/{entry['id']}/resolve", {"verdict": "happened"}), 422, "invalid-input"
    )
    assert fields(document) == ["why"]
    told = {"verdict": "happened", "why": "the bank says so", "result": {"charged": 5}}
    other = told | {"attempt": entry["attempt"] + 1}
    problem(operator.post(f"ledger/{entry['id']}/resolve", other), 409, "stale")
    seen = told | {"attempt": entry["attempt"]}
    assert operator.post(f"ledger/{entry['id']}/resolve", seen).json()["state"] == "committed"
    problem(operator.post(f"ledger/{entry['id']}/resolve", told), 409, "stale")
    assert go_on(job).result == {"charged": 5}
    assert len(world.effects("charge")) == 1
    problem(operator.post("ledger/999999/resolve", told), 404, "not-found")
    problem(operator.get("ledger", state="gone"), 422, "invalid-input")


# Permissions


def test_strangers_learn_nothing(api, job_of):
    job = job_of("echo", {"secret": 1})
    for path in ("jobs", f"jobs/{job.pk}", "approvals", "ledger", "agents", "tools", f"jobs/{uuid4()}"):
        document = problem(api(None).get(path), 401, "not-authenticated")
        assert "secret" not in json.dumps(document)


def test_a_submitter_sees_their_own_jobs_and_no_others(api, job_of, user_of):
    mine, other = job_of("wait", by=user_of("submitter")), job_of("wait", by=user_of("submitter", "bob"))
    submitter = api("submitter")
    assert [job["id"] for job in submitter.get("jobs").json()["results"]] == [str(mine.pk)]
    assert submitter.get(f"jobs/{mine.pk}").status_code == 200
    for path in ("", "/steps", "/steps/go", "/events", "/graph"):
        problem(submitter.get(f"jobs/{other.pk}{path}"), 404, "not-found")
    for path, body in (
        ("signals", {"name": "go"}),
        ("cancel", {}),
        ("approvals/go", {"decision": "approved"}),
    ):
        problem(submitter.post(f"jobs/{other.pk}/{path}", body), 404, "not-found")
    assert submitter.post(f"jobs/{mine.pk}/signals", {"name": "go"}).status_code == 202
    problem(submitter.post(f"jobs/{mine.pk}/cancel"), 403, "forbidden")


def test_a_listed_approver_sees_the_job_that_asks_them(api, job_of):
    graph = Graph()
    graph.approval("ok", prompt="${input.amount}?", approvers={"users": ["carol"]})
    job, other = job_of(None, {"amount": 5}, graph=graph.build()), job_of("ask", {"amount": 500})
    carol = api("submitter", "carol")
    assert [job["id"] for job in carol.get("jobs").json()["results"]] == [str(job.pk)]
    assert [wait["job"] for wait in carol.get("approvals").json()["results"]] == [str(job.pk)]
    assert carol.get(f"jobs/{job.pk}").json()["input"] == {"amount": 5}
    problem(carol.get(f"jobs/{other.pk}"), 404, "not-found")
    assert carol.post(f"jobs/{job.pk}/approvals/ok", {"decision": "rejected"}).status_code == 200


def test_payloads_are_withheld_from_viewers_and_named(api, job_of):
    job = job_of("echo", {"secret": 1})
    for path in ("", "/steps", "/steps/echo", "/events"):
        assert b"secret" not in api("viewer").get(f"jobs/{job.pk}{path}").content
    shown = api("viewer").get(f"jobs/{job.pk}").json()
    assert (shown["input"], shown["withheld"]) == (None, ["input", "result"])
    assert api("auditor").get(f"jobs/{job.pk}").json()["input"] == {"secret": 1}


def test_a_graph_is_an_outline_for_those_who_may_not_see_payloads(api, job_of):
    graph = calling("charge", id="a", amount=7).build()
    graph["result"] = {"secret": "${input}"}
    job = job_of(None, 1, graph=graph)
    assert api("auditor").get(f"jobs/{job.pk}/graph").json() == graph
    outline = api("viewer").get(f"jobs/{job.pk}/graph").json()
    assert outline == {"nodes": [{"id": "a", "kind": "tool", "tool": "charge"}], "edges": []}


@pytest.mark.parametrize("role", ["admin", "operator", "submitter"])
def test_who_may_submit(api, role):
    assert api(role).post("jobs", {"agent": "echo"}).status_code == 201


@pytest.mark.parametrize("role", ["approver", "auditor", "viewer"])
def test_who_may_not_submit(api, role):
    problem(api(role).post("jobs", {"agent": "echo"}), 403, "forbidden")


@pytest.mark.parametrize("role", ["admin", "operator"])
def test_who_may_operate(api, job_of, role):
    assert api(role).post(f"jobs/{job_of('wait').pk}/pause").status_code == 200


@pytest.mark.parametrize("role", ["approver", "auditor", "viewer"])
def test_who_may_not_operate(api, job_of, role):
    problem(api(role).post(f"jobs/{job_of('wait').pk}/pause"), 403, "forbidden")


# Beside it


def test_the_description_has_no_warnings(tmp_path, capsys):
    from django.core.management import call_command

    call_command("spectacular", "--validate", "--fail-on-warn", "--file", str(tmp_path / "schema.yml"))
    assert "openapi: 3.1" in (tmp_path / "schema.yml").read_text()


def test_the_documentation_is_served(api):
    page = api(None).client.get("/api/v1/docs/")
    assert page.status_code == 200 and b"swagger-ui" in page.content
    assert api(None).client.get("/api/v1/schema/").status_code == 200


def test_health(client):
    assert client.get("/healthz").content == b"ok\n"
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["checks"]["migrations"]) == (200, "ok")


def test_a_large_value_is_answered_like_any_other(api, job_of, settings):
    settings.AETHERIS = settings.AETHERIS | {"INLINE_VALUE_BYTES": 100}
    value = {"text": "rose " * 100}
    job = job_of("echo", value)
    detail = api("operator").get(f"jobs/{job.pk}").json()
    assert (detail["input"], detail["result"]) == (value, value)
    assert api("operator").get(f"jobs/{job.pk}/steps/echo").json()["result"] == value
    events = api("operator").get(f"jobs/{job.pk}/events").json()["events"]
    assert [event["parts"]["output"] for event in events if "output" in event["parts"]] == [value]
