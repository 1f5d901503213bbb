"""submit, signal, approve, reject: the verbs with which a job gets what it needs."""

import io
import json
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.core.management.base import CommandError

from runtime.models import Job
from tests.commands.conftest import asked, said
from tests.engine.driving import drive


def test_submit_starts_a_job_and_says_how_to_follow_it():
    text = said("submit", "echo", "--input", '{"x": 1}')

    job = Job.objects.get()
    assert (job.agent, job.input, job.status) == ("echo", {"x": 1}, "pending")
    assert f"Job {job.pk} of echo is pending." in text
    assert f"manage.py trace {job.pk}" in text


def test_submit_answers_json_with_the_steps_of_the_job():
    answer = asked("submit", "echo", "--input", "[1]")

    assert Job.objects.get().submitted_by.startswith("shell")
    assert (answer["status"], answer["input"], answer["result"]) == ("pending", [1], None)
    assert [(step["key"], step["status"]) for step in answer["steps"]] == [("echo", "ready")]


def test_submit_says_where_and_how_soon_a_job_runs():
    said("submit", "echo", "--queue", "background", "--priority", "-5")
    job = Job.objects.get()
    assert (job.queue, job.priority) == ("background", -5)
    with pytest.raises(CommandError, match="there is no queue 'backgruond'"):
        said("submit", "echo", "--queue", "backgruond")


def test_the_input_may_come_from_a_file_or_from_standard_input(tmp_path: Path, monkeypatch):
    file = tmp_path / "input.json"
    file.write_text('{"from": "file"}')
    said("submit", "echo", "--input", f"@{file}")
    monkeypatch.setattr("sys.stdin", io.StringIO('{"from": "pipe"}'))
    said("submit", "echo", "--input", "-")

    inputs = Job.objects.order_by("id").values_list("input", flat=True)
    assert list(inputs) == [{"from": "file"}, {"from": "pipe"}]


def test_a_key_twice_is_one_job_and_with_another_input_an_error():
    first = asked("submit", "echo", "--input", "1", "--key", "k")
    assert asked("submit", "echo", "--input", "1", "--key", "k")["id"] == first["id"]

    with pytest.raises(CommandError, match=f"belongs to job {first['id']}"):
        said("submit", "echo", "--input", "2", "--key", "k")
    assert Job.objects.count() == 1


def test_a_graph_may_come_instead_of_an_agent(tmp_path: Path):
    file = tmp_path / "graph.json"
    file.write_text(json.dumps({"nodes": [{"id": "one", "kind": "function", "function": "say"}]}))

    assert [step["key"] for step in asked("submit", "--graph", file)["steps"]] == ["one"]
    with pytest.raises(CommandError, match="Name an agent, or give a --graph, and not both"):
        said("submit", "echo", "--graph", str(file))
    with pytest.raises(CommandError, match="and not both"):
        said("submit")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nobody"], "No agent is named 'nobody' (known: "),
        (["echo", "--input", "{"], "input: not JSON"),
        (["echo", "--input", '{"a": {"b": "\\u0000"}}'], "input.a.b: holds a NUL character"),
        (["echo", "--input", '["\\ud800"]'], "input[0]: holds half of a surrogate pair"),
        (["echo", "--input", "[" * 5000], "input: nests deeper than"),
        (["echo", "--input", "@/no/such/file"], "input: /no/such/file cannot be read: No such file"),
        (["echo", "--key", ""], "idempotency_key: must have 1 to 255 characters"),
        (["--graph", "/no/such/file"], "graph: /no/such/file cannot be read"),
    ],
)
def test_bad_input_is_refused_with_its_place(arguments: list[str], told: str):
    with pytest.raises(CommandError) as refused:
        said("submit", *arguments)

    assert told in str(refused.value)
    assert not Job.objects.exists()


def test_waiting_in_vain_says_so_and_leaves_the_job_alone():
    with pytest.raises(CommandError, match="is pending after 0 s. It goes on without us"):
        said("submit", "echo", "--wait", "0")

    assert Job.objects.get().status == "pending"


def test_a_signal_is_delivered_once_for_each_dedup_id(driven):
    job = driven("wait")

    assert asked("signal", job.pk, "go", "--payload", '{"n": 1}', "--dedup-id", "a")["delivered"] is True
    assert asked("signal", job.pk, "go", "--payload", '{"n": 1}', "--dedup-id", "a")["delivered"] is False
    assert list(job.signals.values_list("name", "payload")) == [("go", {"n": 1})]


def test_a_signal_for_an_approval_or_an_ended_job_is_refused(driven):
    with pytest.raises(CommandError, match="`manage.py approve` decides approvals"):
        said("signal", driven("ask", {"amount": 500}).pk, "approval:ok")
    with pytest.raises(CommandError, match="is completed: it cannot take a signal any more"):
        said("signal", driven("echo").pk, "go")


@pytest.mark.parametrize(("verb", "decision"), [("approve", "approved"), ("reject", "rejected")])
def test_a_decision_is_taken_in_the_name_of_a_user(verb, decision, driven, worker, boss: User):
    job = driven("ask", {"amount": 500})

    answer = asked(verb, job.pk, "ok", "--user", "boss", "--answer", '{"why": "x"}', "--comment", "fine")

    assert (answer["step"], answer["decision"], answer["by"]) == ("ok", decision, "boss")
    drive(job, worker)
    recorded = job.signals.get().payload
    assert recorded == {"decision": decision, "by": boss.pk, "answer": {"why": "x"}, "comment": "fine"}


def test_a_decision_needs_a_user_who_may_and_an_answer_that_fits(driven, boss: User):
    job = driven("ask", {"amount": 500})
    User.objects.create_user("guest")

    for arguments, told in (
        (["--user", "nobody"], "There is no user 'nobody'"),
        (["--user", "guest"], "guest may not decide 'ok'"),
        (["--user", "boss"], "why: 'why' is a required property"),
        (["--user", "boss", "--answer", "[]"], "answer: must be an object"),
        (["nothing", "--user", "boss"], "has no approval 'nothing' to decide"),
    ):
        with pytest.raises(CommandError) as refused:
            said("approve", job.pk, *arguments)
        assert told in str(refused.value)
    assert job.waits.get().closed_at is None


def test_a_decision_can_be_repeated_and_not_turned_round(driven, boss: User):
    job = driven("ask", {"amount": 500})
    arguments = (job.pk, "--user", "boss", "--answer", '{"why": "x"}')

    assert said("approve", *arguments) == said("approve", *arguments)
    with pytest.raises(CommandError, match="is approved already"):
        said("reject", *arguments)
