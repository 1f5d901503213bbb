"""cancel, pause, resume, retry, resolve: what an operator does."""

import pytest
from django.contrib.auth.models import User
from django.core.management.base import CommandError

from runtime.graph import Graph
from runtime.models import Job
from tests.agents_app.world import world
from tests.commands.conftest import asked, said
from tests.engine.driving import drive, statuses, submit
from tools import Refused


def test_several_jobs_are_cancelled_at_once_and_why_is_recorded(driven):
    jobs = [driven("ask", {"amount": 500}), Job.objects.submit("echo")]

    answer = asked("cancel", *[job.pk for job in jobs], "--why", "not needed")

    assert [job["status"] for job in answer["jobs"]] == ["cancelled", "cancelled"]
    parts = jobs[0].event_parts.filter(name="operator").values_list("value", flat=True)
    assert [part["why"] for part in parts] == ["not needed"]


def test_a_job_that_cannot_be_cancelled_does_not_keep_the_others_from_it(driven):
    done, waiting = driven("echo"), driven("ask", {"amount": 500})

    with pytest.raises(CommandError, match=f"Job {done.pk} is completed: it cannot"):
        said("cancel", done.pk, waiting.pk)

    waiting.refresh_from_db()
    assert waiting.status == "cancelled"


def test_a_job_that_does_not_exist_is_a_mistake_and_nothing_is_done(driven):
    job = driven("ask", {"amount": 500})

    with pytest.raises(CommandError, match="There is no job ffff"):
        said("cancel", job.pk, "ffff")
    job.refresh_from_db()
    assert job.status == "waiting"


def test_a_paused_job_starts_nothing_until_it_is_resumed(worker):
    job = Job.objects.submit("counting")

    assert asked("pause", job.pk)["jobs"][0]["paused"] is True
    assert drive(job, worker).status == "pending"
    assert asked("resume", job.pk)["jobs"][0]["paused"] is False
    assert drive(job, worker).status == "completed"


def test_a_failed_job_is_reopened_from_what_failed(driven, worker):
    world.before["charge"].append(Refused("the card is blocked"))
    job = driven("charge", {"amount": 7})
    assert (job.status, world.effects()) == ("failed", [])

    assert asked("retry", job.pk, "--why", "another card")["jobs"][0]["status"] == "running"
    assert drive(job, worker).status == "completed"
    assert len(world.effects()) == 1
    with pytest.raises(CommandError, match="is completed: only a failed job"):
        said("retry", job.pk)


def test_the_json_of_a_job_says_when_it_began_to_undo_what_it_did(worker):
    graph = Graph(compensate="on_failure")
    world.before["charge"].append(Refused("the card is blocked"))
    graph.tool("room", "reserve", what="room") >> graph.tool("charge", "charge")
    job = drive(submit(graph), worker)
    [listed] = asked("jobs")["jobs"]
    assert (listed["status"], listed["compensate"]) == ("failed", "on_failure")
    assert job.compensating_at is not None
    assert listed["compensating_at"] == job.compensating_at.isoformat()


@pytest.fixture
def in_doubt(driven, boss: User):
    """A job with a call of which nobody knows whether it happened."""
    world.after["charge"].append(ConnectionError("the connection broke"))
    return driven("charge", {"amount": 7})


def test_calls_in_doubt_are_listed(in_doubt: Job):
    [entry] = asked("resolve")["in_doubt"]

    assert (entry["job"], entry["step"], entry["tool"]) == (str(in_doubt.pk), "charge", "charge")
    assert (entry["state"], entry["arguments"]) == ("unknown", {"amount": 7.0})
    assert str(entry["entry"]) in said("resolve")


def test_it_happened_with_this_result(in_doubt: Job, worker):
    entry = asked("resolve")["in_doubt"][0]["entry"]
    told = ["--user", "boss", "--why", "seen at the bank", "--result", '{"charged": 7}']

    assert asked("resolve", entry, "happened", *told)["entry"]["state"] == "committed"
    assert drive(in_doubt, worker).result == {"charged": 7}
    assert len(world.effects()) == 1
    assert said("resolve") == "No call waits for a person.\n"


def test_it_did_not_happen_so_it_is_called(in_doubt: Job, worker):
    entry = asked("resolve")["in_doubt"][0]["entry"]

    said("resolve", entry, "absent", "--user", "boss", "--why", "the bank has nothing")
    assert drive(in_doubt, worker).status == "completed"
    assert len({call.key for call in world.effects()}) == 1


def test_what_was_looked_up_of_one_call_does_not_settle_another(in_doubt: Job):
    [entry] = asked("resolve")["in_doubt"]
    told = ["--user", "boss", "--why", "the bank has nothing"]

    with pytest.raises(CommandError, match=r"made again since: by attempt 1, not 2"):
        said("resolve", entry["entry"], "absent", *told, "--attempt", entry["attempt"] + 1)
    assert asked("resolve")["in_doubt"] == [entry]
    said("resolve", entry["entry"], "absent", *told, "--attempt", entry["attempt"])
    assert not asked("resolve")["in_doubt"]


def test_it_is_abandoned_and_the_step_fails(in_doubt: Job, worker):
    entry = asked("resolve")["in_doubt"][0]["entry"]

    said("resolve", entry, "abandon", "--user", "boss", "--why", "nobody will ever know")
    assert drive(in_doubt, worker).status == "failed"
    assert statuses(in_doubt) == {"charge": "failed"}


def test_a_compensation_that_was_refused_is_listed_and_tried_again(worker, boss: User):
    world.before["release"].append(Refused("too late"))
    graph = Graph(compensate="on_cancel")
    graph.tool("taken", "reserve", what="a") >> graph.wait("rest", signal="never")
    job = drive(submit(graph), worker)
    said("cancel", job.pk, "--why", "not needed")
    drive(job, worker)

    [entry] = asked("resolve")["in_doubt"]
    assert (entry["step"], entry["state"]) == ("taken", "committed")
    said("resolve", entry["entry"], "again", "--user", "boss", "--why", "they are open now")
    assert drive(job, worker).status == "cancelled"
    assert len(world.effects("release")) == 1


def test_a_resolution_needs_who_why_and_a_doubt(in_doubt: Job, boss: User):
    entry = asked("resolve")["in_doubt"][0]["entry"]

    for arguments, told in (
        ([entry], "Give a verdict"),
        ([entry, "happened", "--user", "boss"], "and --why"),
        ([entry, "happened", "--user", "nobody", "--why", "x"], "There is no user 'nobody'"),
        ([entry + 1, "happened", "--user", "boss", "--why", "x"], f"There is no ledger entry {entry + 1}"),
    ):
        with pytest.raises(CommandError) as refused:
            said("resolve", *arguments)
        assert told in str(refused.value)

    said("resolve", entry, "abandon", "--user", "boss", "--why", "x")
    with pytest.raises(CommandError, match="is abandoned, not in doubt"):
        said("resolve", entry, "abandon", "--user", "boss", "--why", "x")


# Many at once, and whole agents and queues


def test_many_are_looked_at_first_and_cancelled_with_yes():
    jobs = [Job.objects.submit("echo") for _ in range(3)]
    Job.objects.submit("counting")

    look = asked("cancel", "--agent", "echo")["bulk"]
    assert (look["count"], [job["id"] for job in look["sample"]]) == (3, [str(job.pk) for job in jobs])
    assert "3 jobs would be asked to cancel" in said("cancel", "--agent", "echo")
    assert Job.objects.filter(status="pending").count() == 4

    done = asked("cancel", "--agent", "echo", "--yes", "--why", "recalled")["bulk"]
    assert (done["accepted"], done["refused"]) == (3, 0)
    assert Job.objects.filter(status="pending").count() == 1


def test_ids_come_from_a_file_and_those_that_refuse_are_listed(driven, tmp_path):
    done, open_ = driven("echo"), Job.objects.submit("echo")
    file = tmp_path / "ids"
    file.write_text(f"{done.pk}\n{open_.pk}\n")

    with pytest.raises(CommandError, match="1 jobs refused"):
        said("cancel", "--ids-from", file, "--yes")
    open_.refresh_from_db()
    assert open_.status == "cancelled"
    with pytest.raises(CommandError, match="'nonsense' is no id"):
        file.write_text("nonsense")
        said("cancel", "--ids-from", file)


def test_an_operation_that_was_interrupted_is_continued(monkeypatch):
    jobs = [Job.objects.submit("echo") for _ in range(3)]
    cancel = Job.cancel
    interrupted: list[Job] = []

    def until_interrupted(job, **keys):
        if job.pk == jobs[1].pk and not interrupted:
            interrupted.append(job)
            raise KeyboardInterrupt
        cancel(job, **keys)

    monkeypatch.setattr(Job, "cancel", until_interrupted)
    with pytest.raises(CommandError, match="Interrupted after 1 of 3") as told:
        said("cancel", "--agent", "echo", "--yes")
    operation = str(told.value).split("--continue ")[1].split("`")[0]
    with pytest.raises(CommandError, match="is a cancel, not a retry"):
        said("retry", "--continue", operation)

    assert asked("cancel", "--continue", operation)["bulk"]["accepted"] == 3
    assert set(Job.objects.values_list("status", flat=True)) == {"cancelled"}


def test_an_agent_and_a_queue_rest_and_go_on(worker):
    job = Job.objects.submit("echo", queue="background")

    assert asked("pause", "--agent", "echo", "--why", "audit")["held"] is True
    assert "rests" in said("pause", "--queue", "background")
    assert drive(job, worker).status == "pending"
    assert asked("resume", "--agent", "echo", "--why", "done")["released_why"] == "done"
    assert drive(job, worker).status == "pending"
    assert "goes on" in said("resume", "--queue", "background")
    assert drive(job, worker).status == "completed"
    with pytest.raises(CommandError, match="does not rest"):
        said("resume", "--agent", "echo")


def test_jobs_of_an_agent_are_paused_one_by_one_with_matching(worker):
    jobs = [Job.objects.submit("echo") for _ in range(2)]

    assert asked("pause", "--matching", "--agent", "echo", "--yes")["bulk"]["accepted"] == 2
    assert {drive(job, worker).status for job in jobs} == {"pending"}
    assert drive(Job.objects.submit("echo"), worker).status == "completed"
    with pytest.raises(CommandError, match="add --matching"):
        said("pause", "--agent", "echo", "--status", "running")


def test_which_jobs_must_be_said_in_one_way():
    job = Job.objects.submit("echo")
    with pytest.raises(CommandError, match="Which jobs"):
        said("cancel")
    with pytest.raises(CommandError, match="not both"):
        said("cancel", job.pk, "--agent", "echo")
