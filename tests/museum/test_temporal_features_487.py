"""Temporal (features #487): a history that had grown too large could not be recovered any more."""

from runtime import snapshots
from runtime.fold import Folding
from runtime.models import Job


def test_a_late_state_of_a_long_job_is_folded_from_a_snapshot(drive, monkeypatch):
    monkeypatch.setattr(snapshots, "EVERY", 5)
    monkeypatch.setattr(snapshots, "_distance", lambda folding: snapshots.EVERY)
    job = drive(Job.objects.submit("counting"))
    afresh, _ = snapshots.afresh(job, job.seq)
    snapshots.state_at(job)
    folded: list[None] = []
    apply = Folding.apply
    monkeypatch.setattr(Folding, "apply", lambda self, header: folded.append(apply(self, header)))
    assert snapshots.state_at(job) == afresh
    assert len(folded) <= 5 < job.seq


def test_a_step_is_claimed_without_a_look_at_the_history(worker, drive, django_assert_max_num_queries):
    """What a worker goes by are rows: no attempt reads events, however many there are."""
    job = Job.objects.submit("counting")
    with django_assert_max_num_queries(60) as asked:
        assert drive(job).status == "completed"
    assert not [query for query in asked.captured_queries if 'FROM "aetheris_event"' in query["sql"]]


def test_events_are_read_in_windows(api, drive):
    job = drive(Job.objects.submit("counting"))
    page = api.get(f"jobs/{job.pk}/events", limit=5).json()
    assert len(page["events"]) == 5 < job.seq
