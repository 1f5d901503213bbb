"""Snapshots of the fold: quick to read, never a source."""

import time

import pytest

from runtime import doctor, snapshots
from runtime.fold import Folding
from runtime.graph import Graph, TaskGraph
from runtime.models import Snapshot
from tests.engine.driving import submit
from tests.engine.scoped import failing_for, mapping, mend


@pytest.fixture(autouse=True)
def often(request, monkeypatch):
    if "slow" in request.keywords:
        return
    monkeypatch.setattr(snapshots, "EVERY", 3)
    monkeypatch.setattr(snapshots, "_distance", lambda folding: snapshots.EVERY)


@pytest.fixture
def job(drive):
    """Long enough, with scopes within scopes, failures, a reopening, a wait and calls."""
    inner = mapping(failing_for(5), max_parallel=1).build()
    inner["nodes"][0]["items"] = "${item}"
    graph = Graph()
    each = graph.map("outer", "${input}", inner, max_parallel=1)
    graph.wait("go", signal="go") >> each >> graph.tool("pay", "pay", amount=1.0)
    job = drive(submit(graph, [[1, 2], [3, 5], [4]]))
    job.signal("go")
    drive(job)
    assert job.status == "failed"
    mend()
    job.retry()
    assert drive(job).status == "completed"
    return job


def test_the_state_after_every_event_is_the_same_with_and_without_snapshots(job):
    afresh = [snapshots.afresh(job, seq)[0] for seq in range(1, job.seq + 1)]
    assert snapshots.state_at(job) == afresh[-1]
    assert Snapshot.objects.filter(job=job).count() >= job.seq // 3 - 1
    assert [snapshots.state_at(job, seq) for seq in range(1, job.seq + 1)] == afresh


def test_a_reader_begins_at_the_nearest_snapshot(job, django_assert_num_queries, monkeypatch):
    snapshots.state_at(job)
    folded: list[None] = []
    apply = Folding.apply
    monkeypatch.setattr(Folding, "apply", lambda self, header: folded.append(apply(self, header)))
    seq = job.seq
    with django_assert_num_queries(2):
        snapshots.state_at(job, seq - 4)
    assert len(folded) < 3


def test_snapshots_may_be_deleted_and_those_of_another_fold_are_not_used(job, monkeypatch):
    state = snapshots.state_at(job)
    Snapshot.objects.update(state=b"", version="another")
    assert snapshots.state_at(job) == state
    Snapshot.objects.all().delete()
    assert snapshots.state_at(job) == state


def test_a_wrong_snapshot_is_found(job):
    snapshots.state_at(job)
    first = Snapshot.objects.earliest("seq")
    other = Folding(lambda digest: TaskGraph.recorded({}))
    Snapshot.objects.filter(pk=first.pk).update(state=snapshots._packed(other))
    found = doctor.examine([job.pk])
    assert [finding.code for finding in found] == ["snapshot"]
    assert f"the snapshot after event {first.seq}" in found[0].message
    Snapshot.objects.all().delete()


def test_nothing_on_the_way_of_a_job_makes_one(job):
    assert not Snapshot.objects.exists()


def took(question, before=lambda: None):
    """The best of three, in milliseconds of processor time: the machine may have other work."""
    times = []
    for _ in range(3):
        before()
        began = time.process_time()
        question()
        times.append(time.process_time() - began)
    return min(times) * 1000


@pytest.mark.slow
def test_a_state_of_a_long_job_is_read_in_a_fraction_of_the_time(drive):
    """Prints what docs/replay.md tells."""
    graph = Graph()
    before = graph.function("s0", "say", value=0)
    for number in range(1, 10_000):
        before = before >> graph.function(f"s{number}", "say", value=number)
    job = drive(submit(graph))
    assert job.status == "completed"

    def forget():
        Snapshot.objects.all().delete()

    places = [1_000, 6_000, 11_000, 16_000, job.seq]
    without = {seq: took(lambda seq=seq: snapshots.state_at(job, seq), forget) for seq in places}
    forget()
    snapshots.state_at(job)
    within = {seq: took(lambda seq=seq: snapshots.state_at(job, seq)) for seq in places}
    sizes = [len(bytes(state)) for state in Snapshot.objects.values_list("state", flat=True)]
    print(f"\n{job.seq} events, {len(sizes)} snapshots of {sum(sizes)} bytes")
    for seq in places:
        print(f"after event {seq}: {without[seq]:.0f} ms without, {within[seq]:.0f} ms with")
    assert within[job.seq] < without[job.seq] / 2
