"""The pages: what they show and to whom, how they answer, and what they cost."""

import json
import re
from html import unescape

import pytest
from django.contrib.auth.models import User
from django.urls import reverse

from runtime.graph import Graph
from runtime.models import Job
from tests.agents_app.world import world
from tests.engine.driving import doing
from tools import Refused

BIDI, ZERO_WIDTH = "\u202e", "\u200b"


def text_of(response):
    """What a reader sees of a page, roughly."""
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", response.content.decode())).split())


def found(pattern, page):
    """What stands in a page at the group of the pattern."""
    match = re.search(pattern, page)
    assert match is not None, pattern
    return unescape(match.group(1))


def page_of(job):
    return reverse("trace:job", args=[job.pk])


# Who gets in


@pytest.mark.parametrize(
    "path", ["/", "/trace/jobs/", "/trace/approvals/", "/trace/unknown/", "/trace/jobs.json"]
)
def test_strangers_are_sent_to_log_in(client, path):
    response = client.get(path, follow=True)
    assert response.redirect_chain[-1][0].startswith("/login/?next=")
    assert "Log in" in text_of(response)


def test_logging_in_leads_to_the_jobs(client, user_of):
    user_of("viewer")
    response = client.post("/login/", {"username": "viewer", "password": "secret"}, follow=True)
    assert response.redirect_chain == [("/trace/jobs/", 302)]
    assert "No job has been submitted yet" in text_of(response)


def test_a_wrong_password_is_told(client, user_of):
    user_of("viewer")
    response = client.post("/login/", {"username": "viewer", "password": "guess"})
    assert "enter a correct username and password" in text_of(response)


def test_a_poll_without_a_session_leads_to_the_login_page_as_a_whole(client, job_of):
    response = client.get(page_of(job_of("wait")), headers={"HX-Request": "true"})
    assert (response["HX-Redirect"], response.content) == ("/login/", b"")


def test_the_job_of_another_is_not_there(browser_of, job_of, user_of):
    job = job_of("wait", by=user_of("submitter", "bob"))
    anna = browser_of("submitter", "anna")
    assert anna.get(page_of(job)).status_code == 404
    assert anna.get(f"/trace/jobs/{job.pk}.json").status_code == 404
    assert anna.post(reverse("trace:cancel", args=[job.pk])).status_code == 404
    assert str(job.pk) not in anna.get("/trace/jobs/").content.decode()


def test_a_page_that_is_not_there_says_so(browser_of):
    response = browser_of("viewer").get("/no/such/page/")
    assert response.status_code == 404 and "Nothing is at this address" in text_of(response)


# What they show


def test_the_list_shows_jobs_and_filters_them(browser_of, job_of):
    done, waiting = job_of("echo", 1), job_of("wait")
    viewer = browser_of("viewer")
    everything = viewer.get("/trace/jobs/")
    assert page_of(done) in everything.content.decode() and page_of(waiting) in everything.content.decode()
    some = viewer.get("/trace/jobs/?status=waiting&agent=wait").content.decode()
    assert page_of(waiting) in some and page_of(done) not in some
    twin = viewer.get("/trace/jobs.json?status=waiting").json()
    assert [job["id"] for job in twin["jobs"]] == [str(waiting.pk)]


def test_the_list_comes_in_pages(browser_of, job_of, monkeypatch):
    monkeypatch.setattr("forensics.views.lists.JOBS_SHOWN", 2)
    jobs = [job_of("echo", n) for n in range(3)]
    viewer = browser_of("viewer")
    first = viewer.get("/trace/jobs/").content.decode()
    older = found(r'href="(\?before=[^"]*)"', first)
    assert page_of(jobs[0]) not in first
    assert page_of(jobs[0]) in viewer.get(f"/trace/jobs/{older}").content.decode()


@pytest.mark.parametrize("query", ["status=nope", "before=nope", "agent=%00", "before=%F0%9F", "status=%00"])
def test_strange_filters_do_no_harm(browser_of, job_of, query):
    job_of("echo")
    assert browser_of("viewer").get(f"/trace/jobs/?{query}").status_code == 200


def test_a_job_is_shown_with_its_graph_steps_and_events(browser_of, job_of):
    job = job_of("ask", {"amount": 50})
    response = browser_of("auditor").get(page_of(job))
    page = response.content.decode()
    shown = text_of(response)
    assert "3 of 3 ended" in shown
    for key in ("big", "ok", "refund"):
        assert f'href="{page_of(job)}?step={key}#step"' in page
    assert 'aria-label="ok: skipped"' in page and 'aria-label="refund: completed"' in page
    assert "job_submitted" in shown and "job_completed" in shown
    assert '"charged": 50' in shown
    assert browser_of("auditor").get(f"/trace/jobs/{job.pk}.json").json()["id"] == str(job.pk)


def test_a_step_is_shown_with_its_calls(browser_of, job_of):
    job = job_of("ask", {"amount": 50})
    shown = text_of(browser_of("auditor").get(f"{page_of(job)}?step=refund"))
    assert "Calls" in shown and "charge#0" in shown and "committed" in shown
    assert "No such" not in text_of(
        browser_of("auditor").get(f"{page_of(job)}?step=nothing%00&steps_after=x")
    )


def test_a_failed_job_says_what_failed(browser_of, job_of):
    job = job_of("failing")
    shown = text_of(browser_of("auditor").get(page_of(job)))
    assert "Failed in fails" in shown and "this step always fails" in shown
    assert "this step always fails" not in text_of(browser_of("viewer").get(page_of(job)))


def test_a_large_graph_is_drawn_in_layers_and_a_long_job_in_windows(
    browser_of, job_of, django_assert_max_num_queries
):
    graph = Graph()
    first = graph.function("first", "say")
    for number in range(299):
        first >> graph.function(f"m{number}", "say", value=number)
    job = job_of(None, graph=graph.build())
    auditor = browser_of("auditor")
    with django_assert_max_num_queries(25):
        response = auditor.get(page_of(job))
    page = response.content.decode()
    assert len(page) < 120_000
    assert 'aria-label="299 steps from m0 to m298: 299 completed: completed"' in page
    following = found(r'href="([^"]*steps_after=[^"#]*)', page)
    assert (
        page.count("?step=m") < 300
        and f"{page_of(job)}?step=m150#step" in auditor.get(following).content.decode()
    )
    older = found(r'href="([^"]*events_before=[^"#]*)', page)
    assert auditor.get(older).status_code == 200


def test_a_wide_layer_of_a_small_graph_is_one_box(browser_of, job_of):
    page = browser_of("viewer").get(page_of(job_of("fan"))).content.decode()
    assert "20 steps from m0 to m19" in page and 'aria-label="last: completed"' in page


# Hostile data


def test_what_a_job_holds_is_shown_and_never_run(browser_of, job_of):
    evil = f"<script>alert(1)</script><img src=x onerror=alert(2)>{BIDI}{ZERO_WIDTH}\x1b"
    graph = Graph()
    schema = {"type": "object", "properties": {evil: {"title": evil, "enum": [evil]}}}
    graph.approval("ok", prompt=f"Pay? {evil} ${{input.text}}", schema=schema)
    job = job_of(None, {"text": evil}, graph=graph.build())
    for path in (page_of(job), f"{page_of(job)}?step=ok", "/trace/approvals/", "/trace/jobs/"):
        response = browser_of("admin").get(path)
        page = response.content.decode()
        assert "<script>alert" not in page and "<img src=x" not in page
        assert not any(hidden in page for hidden in (BIDI, ZERO_WIDTH, "\x1b"))
        assert "script-src 'self'" in response["Content-Security-Policy"]
    shown = text_of(browser_of("admin").get(page_of(job)))
    assert "⟦U+202E⟧⟦U+200B⟧" in shown and "<script>alert(1)</script>" in shown


def test_an_error_of_a_step_is_shown_and_never_run(browser_of, job_of):
    def burst(context):
        raise ValueError("<script>alert(1)</script>\u202e")

    graph = doing(burst, retry={"max_attempts": 1})
    page = browser_of("auditor").get(page_of(job_of(None, graph=graph.build()))).content.decode()
    assert "<script>alert" not in page and "ValueError" in page and BIDI not in page


def test_no_page_takes_anything_from_elsewhere(browser_of, job_of):
    job = job_of("ask", {"amount": 500})
    for path in (page_of(job), "/trace/jobs/", "/trace/approvals/", "/trace/unknown/"):
        page = browser_of("admin").get(path).content.decode()
        assert not re.search(r"""(?:src|href|action)=["']?(?:https?:)?//""", page)
        assert not re.search(r"<script(?![^>]*\bsrc=)", page) and not re.search(r"\s(?:style|on\w+)=", page)


# Payloads


def test_payloads_are_for_those_who_may_see_them(browser_of, job_of, user_of):
    job = job_of("echo", {"secret": "abc"}, by=user_of("submitter"))
    for role in ("viewer", "approver"):
        response = browser_of(role).get(page_of(job))
        assert "abc" not in response.content.decode() and "not shown" in text_of(response)
    for role in ("auditor", "operator", "admin", "submitter"):
        assert "abc" in browser_of(role).get(page_of(job)).content.decode()


def test_a_large_payload_is_cut(browser_of, job_of):
    job = job_of("echo", {"text": "x" * 100_000 + "the end"})
    page = browser_of("auditor").get(page_of(job)).content.decode()
    assert len(page) < 60_000 and "the end" not in page and "All of it" in page


# Deeds


def test_a_job_is_submitted_from_the_list_and_only_once(browser_of, go_on):
    submitter = browser_of("submitter")
    key = found(r'name="key" value="([^"]*)"', submitter.get("/trace/jobs/").content.decode())
    sent = {"agent": "echo", "input": '{"text": "hi"}', "key": key}
    first = submitter.post("/trace/jobs/", sent)
    second = submitter.post("/trace/jobs/", sent)
    job = Job.objects.get()
    assert first.status_code == 302 and first["Location"] == second["Location"] == page_of(job)
    assert go_on(job).result == {"text": "hi"}
    assert "echo is on its way" in text_of(submitter.get(first["Location"]))


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        ({"agent": "echo", "input": "{"}, "not JSON"),
        ({"agent": "echo", "input": '{"a": [1, "\\u0000"]}'}, "input.a[1]"),
        ({"agent": "nobody", "input": "{}"}, "No agent is named"),
        ({"agent": "nobody\0", "input": "{}"}, "No agent is named"),
        ({"agent": "echo", "input": "[" * 5000}, "nests deeper"),
    ],
)
def test_a_bad_submission_is_told_beside_the_form(browser_of, sent, told):
    response = browser_of("submitter").post("/trace/jobs/", sent)
    assert response.status_code == 422 and told in text_of(response)
    assert Job.objects.count() == 0


def test_viewers_cannot_submit(browser_of):
    viewer = browser_of("viewer")
    assert "New job" not in text_of(viewer.get("/trace/jobs/"))
    assert viewer.post("/trace/jobs/", {"agent": "echo", "input": "1"}).status_code == 403


def test_an_approval_is_decided_on_the_page(browser_of, job_of, go_on):
    job = job_of("ask", {"amount": 500})
    approver = browser_of("approver")
    page = approver.get(page_of(job))
    assert "Refund 500?" in text_of(page)
    action = found(r'action="([^"]*/decide/[^"]*)"', page.content.decode())
    name = found(r'name="(answer-[^"]*)"', page.content.decode())

    empty = approver.post(action, {"decision": "approved", name: "", "comment": "kept"})
    assert empty.status_code == 422 and "'why' is a required property" in text_of(empty)
    assert 'value="kept"' in empty.content.decode() and 'aria-invalid="true"' in empty.content.decode()

    done = approver.post(action, {"decision": "approved", name: "broken", "comment": ""}, follow=True)
    assert "Approved: ok." in text_of(done)
    assert go_on(job).status == "completed" and len(world.effects("charge")) == 1
    again = approver.post(action, {"decision": "rejected"}, follow=True)
    assert "approved already" in text_of(again)


def test_a_rejected_refund_never_proceeds(browser_of, job_of, go_on):
    job = job_of("ask", {"amount": 500})
    wait = job.waits.get()
    browser_of("approver").post(reverse("trace:decide", args=[job.pk, wait.pk]), {"decision": "rejected"})
    assert go_on(job).is_finished and world.effects("charge") == []


def test_every_kind_of_field_is_rendered_and_read(browser_of, job_of, go_on):
    properties = {
        "amount": {"type": "number", "maximum": 100},
        "count": {"type": "integer"},
        "sure": {"type": "boolean"},
        "why": {"enum": ["broken", "late", 7]},
        "note": {"type": ["string", "null"], "maxLength": 1000},
        "more": {"type": "object"},
        "left": {"type": "string"},
    }
    schema = {"type": "object", "properties": properties, "required": list(properties)[:-1]}
    graph = Graph()
    graph.approval("ok", prompt="?", schema=schema)
    job = job_of(None, graph=graph.build())
    wait = job.waits.get()
    admin, action = browser_of("admin"), reverse("trace:decide", args=[job.pk, wait.pk])

    def send(**values):
        named = {f"answer-{wait.pk}-{list(properties).index(name)}": value for name, value in values.items()}
        return admin.post(action, {"decision": "approved", **named})

    good = {"amount": "12.5", "count": "3", "sure": "on", "why": "7", "note": "a\r\nb", "more": '{"a": [1]}'}
    for field, value, told in (
        ("amount", "many", "cannot be read"),
        ("amount", "true", "not a number"),
        ("amount", "101", "greater than the maximum"),
        ("count", "1.5", "not of type 'integer'"),
        ("why", '"else"', "is not one of"),
        ("more", "{", "cannot be read"),
    ):
        refused = send(**{**good, field: value})
        assert refused.status_code == 422 and told in text_of(refused), (field, value)
    assert send(**good).status_code == 302
    go_on(job)
    assert job.steps.get().result["answer"] == {
        "amount": 12.5, "count": 3, "sure": True, "why": 7, "note": "a\nb", "more": {"a": [1]}
    }  # fmt: skip


def test_an_approval_is_not_for_everybody(browser_of, job_of):
    job = job_of("ask", {"amount": 500})
    wait = job.waits.get()
    operator = browser_of("operator")
    assert "/decide/" not in operator.get(page_of(job)).content.decode()
    answer = operator.post(reverse("trace:decide", args=[job.pk, wait.pk]), {"decision": "approved"})
    assert answer.status_code == 403 and world.effects("charge") == []
    assert operator.post(reverse("trace:decide", args=[job.pk, wait.pk + 999])).status_code == 404


def test_a_signal_is_sent_from_the_page(browser_of, job_of, go_on):
    job = job_of("wait")
    address = reverse("trace:signal", args=[job.pk, job.waits.get().pk])
    operator = browser_of("operator")
    bad = operator.post(address, {"payload": "{"})
    assert bad.status_code == 422 and "cannot be read as JSON" in text_of(bad)
    assert "Delivered: go." in text_of(operator.post(address, {"payload": '{"n": 1}'}, follow=True))
    assert go_on(job).result == {"n": 1}
    assert browser_of("viewer").post(address, {"payload": "1"}).status_code == 403


def test_pause_resume_cancel_and_retry_from_the_page(browser_of, job_of, go_on):
    job = job_of("wait")
    operator = browser_of("operator")
    for verb, told in (("pause", "Paused."), ("resume", "Goes on."), ("cancel", "Asked to cancel.")):
        assert told in text_of(operator.post(reverse(f"trace:{verb}", args=[job.pk]), follow=True))
    job.refresh_from_db()
    assert job.status == "cancelled"
    assert "cannot" in text_of(operator.post(reverse("trace:pause", args=[job.pk]), follow=True))
    failed = job_of("failing")
    assert "Reopened" in text_of(operator.post(reverse("trace:retry", args=[failed.pk]), follow=True))
    assert operator.get(reverse("trace:cancel", args=[job.pk])).status_code == 405
    assert browser_of("viewer").post(reverse("trace:cancel", args=[job.pk])).status_code == 403


def test_what_is_in_doubt_is_settled_on_the_page(browser_of, job_of, go_on):
    world.after["charge"].append(TimeoutError("no answer"))
    job = job_of("charge", {"amount": 5})
    operator = browser_of("operator")
    assert "charge" in text_of(operator.get("/trace/unknown/"))
    page = operator.get(page_of(job))
    assert "Did charge happen?" in text_of(page)
    address = found(r'action="([^"]*/resolve/[^"]*)"', page.content.decode())
    for sent in (
        {"verdict": "happened", "why": " "},
        {"verdict": "sure", "why": "x"},
        {"why": "x", "verdict": "happened", "result": "{"},
    ):
        assert operator.post(address, sent).status_code == 422
    told = {"verdict": "happened", "why": "seen at the bank", "result": '{"charged": 5}'}
    assert "Settled: charge" in text_of(operator.post(address, told, follow=True))
    assert go_on(job).result == {"charged": 5} and len(world.effects("charge")) == 1
    assert browser_of("viewer").post(address, told).status_code == 403


def test_a_page_that_was_opened_before_the_call_was_made_again_settles_nothing(browser_of, job_of, go_on):
    world.after["charge"] += [TimeoutError("no answer"), TimeoutError("no answer")]
    job = job_of("charge", {"amount": 5})
    operator = browser_of("operator")
    page = operator.get(page_of(job)).content.decode()
    address = found(r'action="([^"]*/resolve/[^"]*)"', page)
    told = {
        "attempt": found(r'name="attempt" value="(\d+)"', page),
        "verdict": "absent",
        "why": "not in the list",
    }
    assert "Settled: charge" in text_of(operator.post(address, told, follow=True))
    go_on(job)
    assert operator.post(address, told).status_code == 422
    assert go_on(job).status == "waiting" and len(world.effects("charge")) == 2


def test_a_compensation_that_was_refused_is_decided_on_the_page(browser_of, job_of, go_on):
    world.before["release"].append(Refused("too late"))
    graph = Graph(compensate="on_failure")
    graph.tool("taken", "reserve", what="a") >> graph.tool("never", "lookup", name="${input.nothing}")
    job = job_of(None, {}, graph=graph.build())
    operator = browser_of("operator")
    assert "reserve" in text_of(operator.get("/trace/unknown/"))
    page = operator.get(page_of(job))
    assert "reserve cannot be undone" in text_of(page) and "too late" in text_of(page)
    address = found(r'action="([^"]*/resolve/[^"]*)"', page.content.decode())
    assert operator.post(address, {"verdict": "undone", "why": " "}).status_code == 422
    told = {"verdict": "undone", "why": "by telephone"}
    assert "Settled: reserve is compensated" in text_of(operator.post(address, told, follow=True))
    assert (go_on(job).status, world.effects("release")) == ("failed", [])


def test_deeds_need_the_csrf_token(browser_of, job_of, user_of):
    from django.test import Client

    job = job_of("wait")
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(user_of("operator"))
    assert strict.post(reverse("trace:cancel", args=[job.pk])).status_code == 403
    job.refresh_from_db()
    assert job.status == "waiting"


# Live


def test_a_poll_brings_news_only(browser_of, job_of, go_on):
    job = job_of("wait")
    viewer, polling = browser_of("viewer"), {"HX-Request": "true"}
    page = viewer.get(page_of(job)).content.decode()
    address = found(r'hx-get="([^"]*)"', page)
    assert viewer.get(address, headers=polling).status_code == 204
    job.signal("go", 1)
    go_on(job)
    news = viewer.get(address, headers=polling).content.decode()
    assert news.startswith('<div id="live">') and "hx-get" not in news and "<html" not in news


def test_a_poll_of_the_list_brings_news_only(browser_of, job_of):
    job_of("wait")
    viewer, polling = browser_of("viewer"), {"HX-Request": "true"}
    page = viewer.get("/trace/jobs/").content.decode()
    address = found(r'hx-get="([^"]*)"', page)
    assert viewer.get(address, headers=polling).status_code == 204
    second = job_of("echo")
    assert page_of(second) in viewer.get(address, headers=polling).content.decode()


# What they cost


def test_the_list_costs_the_same_for_one_job_and_for_many(
    browser_of, job_of, user_of, django_assert_max_num_queries
):
    for number in range(12):
        job_of("echo", number, by=user_of("submitter", f"user{number}"))
    viewer = browser_of("viewer")
    with django_assert_max_num_queries(10) as asked:
        viewer.get("/trace/jobs/")
    listing = [query["sql"] for query in asked.captured_queries if 'FROM "aetheris_job"' in query["sql"]]
    assert not any('"aetheris_job"."input"' in sql or '"aetheris_job"."result"' in sql for sql in listing)


@pytest.mark.parametrize("agent", ["echo", "fan", "ask"])
def test_a_job_page_costs_a_bounded_number_of_queries(
    browser_of, job_of, django_assert_max_num_queries, agent
):
    job = job_of(agent, {"amount": 500})
    admin = browser_of("admin")
    with django_assert_max_num_queries(25):
        admin.get(page_of(job))


# The admin


@pytest.fixture
def staff(client, db):
    client.force_login(User.objects.create_superuser("root"))
    return client


@pytest.mark.parametrize("model", ["job", "step", "ledgerentry", "signal", "wait", "worker"])
def test_the_admin_lists_and_shows_without_payloads_in_lists(staff, job_of, model):
    job = job_of("ask", {"amount": 500})
    job.signal("early", {"n": 1})
    world.after["charge"].append(TimeoutError("no answer"))
    job_of("charge", {"amount": 5})
    listed = staff.get(reverse(f"admin:runtime_{model}_changelist"), {"q": "a"})
    assert listed.status_code == 200
    row = listed.context["cl"].model.objects.first()
    shown = staff.get(reverse(f"admin:runtime_{model}_change", args=[row.pk]))
    assert shown.status_code == 200 and b"_save" not in shown.content
    assert staff.get(reverse(f"admin:runtime_{model}_add")).status_code == 403


def test_the_admin_list_of_jobs_selects_no_payloads(staff, job_of, django_assert_max_num_queries):
    for number in range(5):
        job_of("echo", {"secret": number})
    with django_assert_max_num_queries(15) as asked:
        staff.get(reverse("admin:runtime_job_changelist"))
    assert not any('"aetheris_job"."input"' in query["sql"] for query in asked.captured_queries)


def test_the_admin_pauses_resumes_and_cancels(staff, job_of):
    waiting, done = job_of("wait"), job_of("echo")
    address = reverse("admin:runtime_job_changelist")
    for verb, column in (("pause", "paused_at"), ("resume", None), ("cancel", "cancel_requested_at")):
        chosen = {"action": verb, "_selected_action": [str(waiting.pk), str(done.pk)]}
        told = text_of(staff.post(address, chosen, follow=True))
        assert f"{verb.title()}: 1 of 2 jobs" in told, told
        assert "is completed" in told, told
        waiting.refresh_from_db()
        assert column is None or getattr(waiting, column) is not None
    assert waiting.status == "cancelled"


def test_the_admin_links_to_the_trace_and_to_the_rows(staff, job_of):
    job = job_of("ask", {"amount": 50})
    page = staff.get(reverse("admin:runtime_job_change", args=[job.pk])).content.decode()
    assert f'href="{page_of(job)}"' in page
    steps = found(r'href="([^"]*/step/\?job__id__exact=[^"]*)"', page)
    assert text_of(staff.get(steps)).count("Completed") >= 2


@pytest.mark.parametrize("lookup", ["input__password__startswith", "result__isnull", "head__isnull"])
def test_the_admin_finds_no_rows_by_their_payloads(client, user_of, job_of, lookup):
    viewer = user_of("viewer")
    viewer.is_staff = True
    viewer.save()
    client.force_login(viewer)
    job_of("echo", {"password": "hunter2"})
    assert client.get(reverse("admin:runtime_job_changelist"), {lookup: "h"}).status_code == 400


def test_the_admin_hides_payloads_from_staff_without_the_permission(client, user_of, job_of):
    viewer = user_of("viewer")
    viewer.is_staff = True
    viewer.save()
    client.force_login(viewer)
    page = client.get(reverse("admin:runtime_job_change", args=[job_of("echo", {"secret": "sesame"}).pk]))
    assert page.status_code == 200 and "sesame" not in page.content.decode()
    chosen = {"action": "cancel", "_selected_action": [str(Job.objects.get().pk)]}
    assert "Cancel: 1" not in text_of(
        client.post(reverse("admin:runtime_job_changelist"), chosen, follow=True)
    )


def test_hidden_characters_are_shown_in_the_admin_too(staff, job_of):
    job = job_of("echo", {"text": BIDI})
    page = staff.get(reverse("admin:runtime_job_change", args=[job.pk])).content.decode()
    assert BIDI not in page and json.dumps(BIDI) not in page or "U+202E" in page


def test_what_a_map_expanded_into_is_drawn_by_itself(browser_of, job_of):
    inner = Graph()
    price = inner.function("price", "say", value="${item}")
    inner.result(inner.function("check", "say", value=price))
    graph = Graph()
    graph.map("each", "${input.items}", inner)
    job = job_of(None, {"items": [1, 2]}, graph=graph.build())
    auditor = browser_of("auditor")
    outer = auditor.get(f"{page_of(job)}?step=each").content.decode()
    assert "map · 2 × inside" in outer and 'aria-label="each[0].price: completed"' not in outer
    inside = auditor.get(page_of(job) + found(r'href="[^"]*(\?scope=[^"#]*)', outer)).content.decode()
    assert 'aria-label="each[0].price: completed"' in inside and "?step=each[1]" not in inside
    assert auditor.get(f"{page_of(job)}?scope=999999").status_code == 200


def test_a_large_value_is_shown_like_any_other(browser_of, job_of, settings):
    settings.AETHERIS = settings.AETHERIS | {"INLINE_VALUE_BYTES": 100}
    job = job_of("echo", {"text": "rose " * 100})
    text = browser_of("operator").get(f"/trace/jobs/{job.pk}/?step=echo").content.decode()
    assert text.count("rose rose") >= 3, "input, result, and events"
    assert "$blob" not in text
