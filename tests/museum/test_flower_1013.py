"""Flower (#1013): what had happened was in the memory of a process, and gone when that was restarted."""

from django.test import Client

from runtime import leases
from runtime.models import Job


def test_the_history_is_in_the_database_alone(boss, api, drive):
    job = drive(Job.objects.submit("diamond", 1))
    leases.client().flushdb()
    anew = Client()  # of another process, for all it knows
    anew.force_login(boss)
    assert "bottom" in anew.get(f"/trace/jobs/{job.pk}/").content.decode()
    events = api.get(f"jobs/{job.pk}/events").json()["events"]
    assert [event["seq"] for event in events] == list(range(1, job.seq + 1))
