"""jobs, trace, replay, monitor, doctor, agents, nodes, graph: ways to look."""

import json
from datetime import timedelta
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection

from runtime import clock, leases
from runtime.exceptions import LeaseUnavailable
from runtime.models import Job, Step
from tests.commands.conftest import asked, said
from tests.engine.driving import claim


@pytest.fixture
def moved_clock():
    yield clock
    clock.shift(timedelta(0))


def test_jobs_come_last_first_and_can_be_narrowed(driven):
    first, second = driven("echo"), driven("ask", {"amount": 500})

    assert [job["id"] for job in asked("jobs")["jobs"]] == [str(second.pk), str(first.pk)]
    assert [job["agent"] for job in asked("jobs", "--status", "waiting")["jobs"]] == ["ask"]
    assert [job["agent"] for job in asked("jobs", "--agent", "echo")["jobs"]] == ["echo"]
    assert len(asked("jobs", "--limit", "1")["jobs"]) == 1
    assert str(first.pk) in said("jobs", "--status", "completed")
    assert said("jobs", "--status", "failed") == "There is no such job.\n"


def test_a_list_of_jobs_reads_no_payload(driven, django_assert_num_queries):
    driven("echo", {"large": "x" * 1000})

    with django_assert_num_queries(1) as queries:
        said("jobs")
    assert '"input"' not in queries.captured_queries[0]["sql"]


def test_a_job_is_named_by_its_id_the_beginning_of_one_or_last(driven):
    first, second = driven("echo"), driven("echo")
    prefix = next(str(first.pk)[:n] for n in range(1, 37) if not str(second.pk).startswith(str(first.pk)[:n]))

    for name, job in (
        (first.pk, first),
        (str(first.pk).replace("-", ""), first),
        (prefix, first),
        ("last", second),
    ):
        assert asked("replay", name)["job"] == str(job.pk)
    with pytest.raises(CommandError, match="The ids of several jobs begin with 0"):
        said("replay", "0")
    for unknown in ("ffffffff", "hello", "%"):
        with pytest.raises(CommandError, match=f"There is no job {unknown}. `manage.py jobs` lists"):
            said("replay", unknown)


def test_a_trace_tells_every_event_with_its_payloads(driven):
    job = driven("charge", {"amount": 7})
    answer = asked("trace", job.pk)

    assert answer["job"]["status"] == "completed"
    assert [event["seq"] for event in answer["events"]] == list(range(1, job.seq + 1))
    called = next(event for event in answer["events"] if event["type"] == "tool_called")
    assert (called["step"], called["attempt"]) == ("charge", 1)
    assert called["payloads"] == {"tool.arguments": {"amount": 7.0}}
    assert called["data"]["idempotency_key"]

    text = said("trace", job.pk)
    assert "  tool_called charge, attempt 1" in text
    assert 'tool.arguments: {"amount": 7.0}' in text


def test_a_trace_can_be_one_steps_and_without_payloads(driven):
    job = driven("ask", {"amount": 5})

    assert {event["step"] for event in asked("trace", job.pk, "--step", "refund")["events"]} == {"refund"}
    assert all(not event["payloads"] for event in asked("trace", job.pk, "--no-payloads")["events"])


def test_nothing_hostile_reaches_the_terminal(driven):
    job = driven("echo", "\x1b[2Jgone \u202e [bold]not bold[/] \x9b")

    text = said("trace", job.pk)
    assert not {"\x1b", "\u202e", "\x9b"} & set(text)
    assert "\\u001b[2Jgone \\u202e [bold]not bold[/]" in text


def test_replay_shows_the_state_after_an_event_from_the_events_alone(driven):
    job = driven("ask", {"amount": 500})

    last = asked("replay", job.pk)
    assert (last["status"], last["steps"]["ok"]["waiting_for"]) == ("waiting", "approval:approval:ok")
    first = asked("replay", job.pk, "--to", "2")
    assert (first["status"], first["seq"], first["steps"]["big"]["status"]) == ("pending", 2, "ready")
    assert "is pending after event 2 of" in said("replay", job.pk, "--to", "2")
    for outside in ("0", str(job.seq + 1)):
        with pytest.raises(CommandError, match=f"has the events 1 to {job.seq}; there is no event {outside}"):
            said("replay", job.pk, "--to", outside)


def test_the_monitor_counts_what_there_is(driven, worker):
    driven("echo")
    driven("ask", {"amount": 500})
    job = Job.objects.submit("echo")
    figures = asked("monitor")

    assert figures["jobs"] == {"completed": 1, "waiting": 1, "pending": 1}
    assert figures["steps"] == {"ready": 1, "running": 0, "waiting": 1, "blocked": 1}
    assert (figures["waits"], figures["waits_due"], figures["in_doubt"], figures["stranded"]) == (
        {"approval": 1},
        0,
        0,
        0,
    )
    assert figures["jobs_submitted_per_minute"] == 3
    assert figures["jobs_ended_per_minute"] == 1
    assert [(each["name"], each["state"], each["holding"]) for each in figures["workers"]] == [
        ("command-tests", "alive", 0)
    ]
    assert set(figures["queues"]) == {"realtime", "default", "background", "heavy"}

    claim(job, worker, "echo")
    assert asked("monitor")["steps"]["running"] == 1
    assert "command-tests" in said("monitor")


def test_the_monitor_notices_what_stands_still(driven, worker, moved_clock):
    Job.objects.submit("echo")
    driven("ask", {"amount": 500})
    moved_clock.shift(timedelta(days=3))
    figures = asked("monitor")

    assert figures["waits_due"] == 1
    assert 3 * 86400 <= figures["ready_for_seconds"] < 3 * 86400 + 60
    assert figures["workers"] == []
    assert "No worker is alive" in said("monitor")


def test_the_monitor_works_while_redis_is_away(monkeypatch):
    def away(*args: object) -> None:
        raise LeaseUnavailable("Redis cannot be asked: connection refused")

    monkeypatch.setattr(leases, "queue_depths", away)
    figures = asked("monitor")

    assert (figures["queues"], figures["leases"]) == (None, None)
    assert "Redis cannot be asked: connection refused" in said("monitor")


def test_doctor_finds_nothing_where_nothing_is_wrong(driven):
    driven("ask", {"amount": 500})

    assert asked("doctor", "--deep") == {"findings": [], "repairs": [], "repaired": False, "unserved": []}
    assert said("doctor") == "Every invariant holds.\n"


def test_doctor_names_what_is_wrong_and_ends_with_an_error(driven, capsys):
    job = driven("ask", {"amount": 500})
    with connection.cursor() as cursor:
        cursor.execute("UPDATE aetheris_job SET waiting_steps = 0 WHERE id = %s", [job.pk])

    with pytest.raises(CommandError, match="1 finding"):
        asked("doctor")
    with pytest.raises(CommandError):
        said("doctor", job.pk)
    asked("doctor", "--repair", "--yes")


def test_doctor_folds_as_many_of_the_newest_jobs_as_it_is_told():
    jobs = [Job.objects.submit("echo") for _ in range(3)]
    # What no question but the fold finds.
    Step.objects.filter(job__in=jobs[:2]).update(failures=1)
    assert asked("doctor", "--deep", "--newest", "1")["findings"] == []
    for newest, found in (("2", 1), ("9", 2)):
        with pytest.raises(CommandError, match=f"{found} finding"):
            asked("doctor", "--deep", "--newest", newest)
    with pytest.raises(CommandError, match="at least one"):
        asked("doctor", "--deep", "--newest", "0")
    Step.objects.filter(job__in=jobs).update(failures=0)


def test_doctor_mends_only_when_told_to():
    Job.objects.submit("echo")
    clock.shift(timedelta(seconds=5))
    try:
        assert asked("doctor", "--repair")["repairs"] == ["1 ready steps are sent again"]
        assert "Nothing was changed" in said("doctor", "--repair")
        assert asked("doctor", "--repair", "--yes")["repairs"] == ["1 ready steps are sent again"]
    finally:
        clock.shift(timedelta(0))


def test_doctor_mends_a_finding_and_looks_again(driven):
    job = driven("ask", {"amount": 500})
    Job.objects.filter(pk=job.pk).update(unfinished_steps=9)
    out = StringIO()
    with pytest.raises(CommandError, match="1 finding"):
        call_command("doctor", str(job.pk), "--repair", stdout=out)
    assert "With --repair the steps are counted again" in out.getvalue()
    assert f"repair: job {job.pk}: the steps are counted again" in out.getvalue()
    assert "Nothing was changed" in out.getvalue()
    answer = asked("doctor", job.pk, "--repair", "--yes")
    assert (answer["findings"], len(answer["repairs"]), answer["repaired"]) == ([], 1, True)


def test_agents_are_listed_with_what_they_are():
    agents = {agent["name"]: agent for agent in asked("agents")["agents"]}

    assert (agents["counting"]["version"], agents["counting"]["nodes"]) == ("1", 10)
    assert agents["counting"]["versions"] == ["1"]
    assert agents["counting"]["description"] == "A straight line of ten steps, each adding one."
    assert "counting" in said("agents")


def test_nodes_tools_and_functions_are_listed():
    answer = asked("nodes")
    tools = {tool["name"]: tool for tool in answer["tools"]}

    assert {"tool", "llm", "function", "condition", "approval", "wait"} <= {
        kind["kind"] for kind in answer["kinds"]
    }
    assert tools["charge"]["in_doubt"] == "a person decides"
    assert tools["pay"]["in_doubt"] == "sent again, with its key"
    assert tools["lookup"]["in_doubt"] == "read again"
    assert tools["transfer"]["in_doubt"] == "verify tells"
    assert "say" in {function["name"] for function in answer["functions"]}
    assert "Answers what it was given." in said("nodes")


def test_a_graph_is_printed_checked_and_refused_with_every_fault(tmp_path: Path):
    file = tmp_path / "graph.json"
    file.write_text(said("graph", "print", "counting"))
    assert asked("graph", "check", file)["nodes"] == 10
    assert "This graph can run: 10 nodes" in said("graph", "check", file)

    file.write_text(
        json.dumps({"nodes": [{"id": "a", "kind": "tool", "tool": "nothing"}, {"id": "b", "kind": "what"}]})
    )
    with pytest.raises(CommandError, match="This graph cannot run"):
        said("graph", "check", file)
    with pytest.raises(CommandError, match="No agent is named 'nothing'"):
        said("graph", "print", "nothing")


def test_replay_tells_what_changed_between_two_events_and_between_two_jobs(driven):
    job, other = driven("ask", {"amount": 5}), driven("ask", {"amount": 6})

    answer = asked("replay", job.pk, "--diff", "2..4")
    assert answer["diff"]["steps"]["big"]["status"] == ["ready", "completed"]
    assert answer["diff"]["results"] == {"big": [None, False]}
    assert "ready" in said("replay", job.pk, "--diff", "2..4")
    assert "are the same" in said("replay", job.pk, "--diff", "3..3")
    calls = asked("replay", job.pk, "--diff", other.pk)["diff"]["calls"]
    assert calls["refund.charge#0"]["arguments"] == [{"amount": 5.0}, {"amount": 6.0}]
    for wrong, message in (
        ("2..x", "two event numbers"),
        ("2..999", "has the events 1 to"),
        ("0", "several"),
    ):
        with pytest.raises(CommandError, match=message):
            said("replay", job.pk, "--diff", wrong)


def test_replay_verifies_and_ends_with_1_where_a_step_diverges(driven):
    job = driven("charge", {"amount": 7})
    assert "1 attempts ran again on 1 recorded effects, all alike." in said("replay", job.pk, "--verify")

    job.steps.update(config={"tool": "charge", "inputs": {"amount": 8.0}})
    with pytest.raises(CommandError, match="docs/replay.md"):
        said("replay", job.pk, "--verify")


def test_replay_says_what_a_fork_would_do_and_forks_only_if_told(driven):
    job = driven("charge", {"amount": 7})

    answer = asked("replay", job.pk, "--fork-from", "charge")
    assert (answer["again"], answer["fork"], Job.objects.count()) == (["charge"], None, 1)
    assert "may happen again" in said("replay", job.pk, "--fork-from", "charge")
    forked = asked("replay", job.pk, "--fork-from", "charge", "--input", '{"amount": 9}', "--yes")["fork"]
    assert Job.objects.get(pk=forked).input == {"amount": 9}
