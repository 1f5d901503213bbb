"""The Go system of the same name: what its source promised and did not do, each asked of our API."""

from django.db import connection

from runtime import recovery, replays
from runtime.exceptions import Permanent
from runtime.execution import run_step
from runtime.graph import Graph
from runtime.models import Job
from runtime.ports import CrashPoint
from tests.agents_app.world import world
from tests.engine.driving import crash_at, entry_of, run_once, statuses, step_of, told
from tests.history.export import Known, judged


def begun(api, agent=None, input=None, *, graph=None):
    """A job that was submitted over the API."""
    body = {"input": input, **({"graph": graph.build()} if graph else {"agent": agent})}
    answer = api.post("jobs", body)
    assert answer.status_code == 201, answer.content
    return Job.objects.get(pk=answer.json()["id"])


def shown(api, job):
    return api.get(f"jobs/{job.pk}").json()


def test_its_events_were_appended_in_four_commits(api, worker):
    """Wherever a worker is lost, what the API shows is a whole history and the state that follows from it."""
    for point in (CrashPoint.AFTER_CLAIM, CrashPoint.BEFORE_RECORD):
        job = begun(api, "echo", 1)
        with crash_at(point):
            run_once(job, worker, "echo")
        events = api.get(f"jobs/{job.pk}/events").json()["events"]
        assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
        state = api.get(f"jobs/{job.pk}/state", seq=len(events)).json()
        assert state["steps"]["echo"]["status"] == "running" == statuses(job)["echo"]


def test_its_claims_were_taken_twice(api, pair, worker, other):
    for _ in range(10):
        job = begun(api, "charge", {"amount": 1})
        pk, before = step_of(job, "charge").pk, len(world.effects("charge"))
        pair.at_once(lambda pk=pk: run_step(pk, worker), lambda pk=pk: run_step(pk, other))
        assert told(job).count("step_claimed") == 1
        assert len(world.effects("charge")) == before + 1


def test_its_signalled_jobs_waited_out_an_old_lease(api, drive, clock):
    job = drive(begun(api, "wait"))
    assert api.post(f"jobs/{job.pk}/signals", {"name": "go", "payload": 7}).status_code < 300
    assert statuses(job) == {"go": "ready"}
    assert drive(job).result == 7  # at once: no clock was moved


def test_its_early_signals_were_lost(api, drive):
    job = begun(api, "wait")
    assert api.post(f"jobs/{job.pk}/signals", {"name": "go", "payload": "early"}).status_code < 300
    assert drive(job).result == "early"


def test_its_expired_waits_never_fired(api, drive, clock):
    graph = Graph()
    graph.wait("go", signal="go", timeout="1h", on_timeout={"value": "too late"})
    job = drive(begun(api, graph=graph))
    clock.forward(hours=2)
    recovery.wake_due()
    assert drive(job).result == "too late"


def test_its_reject_acted_as_approve(api, drive, outside):
    job = drive(begun(api, "ask", {"amount": 500}))
    answer = api.post(f"jobs/{job.pk}/approvals/ok", {"decision": "rejected", "answer": {"why": "no"}})
    assert answer.status_code < 300
    drive(job)
    assert (statuses(job)["refund"], outside.effects("charge")) == ("skipped", [])


def test_its_keys_changed_when_another_worker_took_over(api, worker, other, outside, clock):
    graph = Graph()
    graph.tool("it", "notify", to="x")
    job = begun(api, graph=graph)
    with crash_at(CrashPoint.AFTER_CALL):
        run_once(job, worker)
    clock.forward(minutes=1)
    other.beat()
    recovery.rescue_lost()
    run_once(job, other)
    assert (shown(api, job)["status"], len(outside.calls)) == ("completed", 2)
    assert {call.key for call in outside.calls} == {str(entry_of(job).idempotency_key)}


def test_its_export_rebuilt_a_broken_chain_and_stamped_it_valid(api, drive):
    """A changed history is named as one by whoever verifies it, and written down as it is by whoever exports it."""
    job = drive(begun(api, "echo", 1))
    event = job.events.get(type="step_claimed")
    forged = bytes(event.header).replace(b'"attempt":1', b'"attempt":2')
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")  # as somebody could who owns the database
        cursor.execute(
            "UPDATE aetheris_event SET header = %s WHERE job_id = %s AND seq = %s",
            [forged, job.pk, event.seq],
        )
        assert [fault["code"] for fault in replays.verify(job).faults][:1] == ["digest"]
        assert {found.rule for found in judged(Known())} >= {"digest", "header"}
        cursor.execute(
            "UPDATE aetheris_event SET header = %s WHERE job_id = %s AND seq = %s",
            [bytes(event.header), job.pk, event.seq],
        )
        cursor.execute("SET session_replication_role = DEFAULT")
    assert replays.verify(job).is_good


def test_its_retention_deleted_nothing_and_said_that_it_did(api, drive):
    """Ours deletes nothing either, and says so: no address of the API, and no verb of a job, promises it."""
    job = drive(begun(api, "echo", 1))
    assert api.client.delete(f"/api/v1/jobs/{job.pk}").status_code == 405
    assert shown(api, job)["result"] == 1


def test_its_parallel_steps_were_wired_to_nothing(api, worker):
    job = begun(api, "diamond", 1)
    run_once(job, worker, "top")
    assert {key for key, status in statuses(job).items() if status in ("ready", "running", "completed")} >= {
        "left",
        "right",
    }


def test_its_retry_policy_was_wired_to_nothing(api, drive, clock):
    world.doings["broken"] = _broken
    graph = Graph()
    graph.function("it", "do", what="broken", retry={"max_attempts": 3, "backoff": "10s", "jitter": False})
    job = begun(api, graph=graph)
    for attempt in (1, 2, 3):
        assert (drive(job).status, step_of(job).attempt) == ("failed" if attempt == 3 else "running", attempt)
        clock.forward(seconds=60)


def _broken(context):
    raise TimeoutError("still")


def test_its_compensation_was_wired_to_nothing(api, drive, outside):
    world.doings["end"] = _end
    graph = Graph(compensate="on_failure")
    graph.tool("it", "reserve", what="w") >> graph.function("end", "do", what="end")
    job = drive(begun(api, graph=graph))
    assert (job.status, entry_of(job).state) == ("failed", "compensated")
    assert [call.tool for call in outside.calls] == ["reserve", "release"]


def _end(context):
    raise Permanent("the end")


def test_its_validators_were_wired_to_nothing(api):
    graph = {"nodes": [{"id": "a", "kind": "tool", "tool": "charge", "inputs": {"amount": "much"}}]}
    refused = api.post("jobs", {"graph": graph})
    assert (refused.status_code, Job.objects.count()) == (422, 0)
