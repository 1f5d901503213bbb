"""One verb for many jobs: looked at first, each job by itself, and gone on with after an interruption."""

from uuid import uuid4

import pytest

from runtime import bulk
from runtime.bulk import Filter
from runtime.exceptions import BulkNotFound, InputInvalid, JobNotFound
from runtime.graph import Graph
from runtime.models import BulkOperation, Job
from tests.engine.driving import drive, statuses, submit
from tests.engine.scoped import failing_for, mend


def echoes(count, **keys):
    return [Job.objects.submit("echo", {}, **keys) for _ in range(count)]


def all_of(verb, wanted, **keys):
    return bulk.go_on(bulk.begin(verb, wanted, **keys))


def failed(count, worker):
    failing_for("it")
    graph = Graph()
    graph.function("it", "do", what="fail for", value="it")
    jobs = [drive(submit(graph), worker) for _ in range(count)]
    assert {job.status for job in jobs} == {"failed"}
    return jobs


def test_a_look_says_how_many_and_which_and_changes_nothing():
    jobs = echoes(12)
    Job.objects.submit("wait")
    seen = bulk.preview("cancel", Filter(agent="echo"))
    assert (seen.count, [job.pk for job in seen.sample]) == (12, [job.pk for job in jobs[:10]])
    assert not BulkOperation.objects.exists()
    assert {job.status for job in Job.objects.all()} == {"pending"}


def test_each_job_takes_the_verb_by_itself_and_tells_why():
    jobs, other = echoes(3), Job.objects.submit("wait")
    operation = all_of("cancel", Filter(agent="echo"), by="ops", why="recalled")
    assert (operation.total, operation.done, operation.refused) == (3, 3, 0)
    assert operation.finished_at is not None
    for job in jobs:
        event = job.events.get(type="operator_acted")
        assert job.event_parts.get(seq=event.seq, name="operator").value == {"by": "ops", "why": "recalled"}
    assert Job.objects.get(pk=other.pk).status == "pending"


def test_jobs_are_paused_resumed_and_retried_too(worker):
    jobs = echoes(2)
    assert all_of("pause", Filter(agent="echo")).done == 2
    assert Job.objects.filter(paused_at__isnull=False).count() == 2
    assert all_of("resume", Filter(status=("pending",))).done == 2
    assert [drive(job, worker).status for job in jobs] == ["completed"] * 2
    broken = failed(3, worker)
    mend()
    assert all_of("retry", Filter(status=("failed",))).done == 3
    assert [drive(job, worker).status for job in broken] == ["completed"] * 3


def test_a_filter_is_all_of_what_it_says(clock, worker):
    old = echoes(1)[0]
    clock.forward(hours=3)
    wanted = Job.objects.submit("echo", {}, queue="background")
    echoes(1)
    Job.objects.submit("wait", queue="background")
    chosen = bulk.preview("cancel", Filter(agent="echo", queue="background")).sample
    assert [job.pk for job in chosen] == [wanted.pk]
    assert [job.pk for job in bulk.preview("cancel", Filter(older_than="2h")).sample] == [old.pk]
    assert bulk.preview("cancel", Filter(older_than="4h")).count == 0


def test_only_jobs_that_can_take_the_verb_are_chosen(worker):
    done, open_ = [drive(job, worker) for job in echoes(2)], echoes(1)
    assert bulk.preview("cancel", Filter(agent="echo")).count == len(open_)
    assert bulk.preview("retry", Filter(agent="echo")).count == 0
    assert bulk.preview("resume", Filter(agent="echo")).count == 0
    assert {job.status for job in done} == {"completed"}


def test_jobs_that_are_named_are_all_asked_and_those_that_refuse_say_why(worker):
    done, open_ = drive(echoes(1)[0], worker), echoes(1)[0]
    operation = all_of("cancel", Filter(ids=(done.pk, open_.pk)))
    assert (operation.done, operation.refused) == (1, 1)
    [refusal] = operation.refusals
    assert refusal["job"] == str(done.pk)
    assert "is completed" in refusal["reason"]
    assert Job.objects.get(pk=open_.pk).status == "cancelled"


def test_a_job_that_is_named_and_does_not_exist_is_a_mistake_and_nothing_begins():
    job = echoes(1)[0]
    with pytest.raises(JobNotFound):
        bulk.begin("cancel", Filter(ids=(job.pk, uuid4())))
    with pytest.raises(JobNotFound):
        bulk.begin("cancel", Filter(ids=(job.pk,), tenant="other"))
    assert not BulkOperation.objects.exists()


def test_what_was_interrupted_goes_on_where_it_stopped_and_asks_nobody_twice():
    echoes(5)
    operation = bulk.begin("pause", Filter(agent="echo"))

    def stop():
        if Job.objects.filter(paused_at__isnull=False).count() == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bulk.go_on(operation, tell=stop)
    Job.objects.filter(paused_at__isnull=False)[0].resume()  # whoever was asked is not asked again
    operation = bulk.go_on(bulk.find(operation.pk))
    assert (operation.done, operation.refused, Job.objects.filter(paused_at__isnull=False).count()) == (
        5,
        0,
        4,
    )


def test_a_job_and_the_note_that_it_was_asked_are_one_transaction(monkeypatch):
    echoes(2)
    operation = bulk.begin("cancel", Filter(agent="echo"))

    def crash(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(BulkOperation, "note", crash)
        bulk.go_on(operation)
    assert {job.status for job in Job.objects.all()} == {"pending"}
    assert bulk.go_on(operation).done == 2


def test_two_that_go_on_with_one_operation_ask_each_job_once(pair):
    jobs = echoes(8)
    operation = bulk.begin("cancel", Filter(agent="echo"))
    pair.at_once(*[lambda: bulk.go_on(bulk.find(operation.pk))] * 2)
    operation.refresh_from_db()
    assert (operation.done, operation.refused) == (8, 0)
    assert {status for job in jobs for status in statuses(job).values()} == {"cancelled"}


def test_a_job_that_is_submitted_later_is_not_one_of_them():
    echoes(2)
    operation = bulk.begin("cancel", Filter(agent="echo"))
    late = echoes(1)[0]
    assert bulk.go_on(operation).done == 2
    assert Job.objects.get(pk=late.pk).status == "pending"


def test_it_stops_when_its_time_is_over_and_says_that_it_has_not_finished():
    echoes(3)
    operation = bulk.go_on(bulk.begin("cancel", Filter(agent="echo")), seconds=0)
    assert (operation.done, operation.finished_at) == (1, None)
    assert bulk.go_on(operation).finished_at is not None


@pytest.mark.parametrize(
    "wanted, told",
    [
        (Filter(), "say which jobs"),
        (Filter(older_than="soon"), "older_than"),
        (Filter(status=("lost",)), "status"),
    ],
)
def test_a_filter_that_says_nothing_or_makes_no_sense_is_refused(wanted, told):
    with pytest.raises(InputInvalid, match=told):
        bulk.preview("cancel", wanted)


def test_a_list_of_no_jobs_is_no_job():
    echoes(1)
    assert bulk.preview("cancel", Filter(ids=())).count == 0


def test_an_operation_that_does_not_exist_is_told():
    with pytest.raises(BulkNotFound):
        bulk.find(uuid4())
