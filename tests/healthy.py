"""What every test that touches jobs ends with: `doctor` finds nothing, histories verify, and the checker agrees."""

from collections import defaultdict
from typing import Any

from runtime import chain, doctor
from runtime.models import Event, EventPart, Job
from tests.history.export import Known, judged

MOST_JUDGED = 10_000
"""Events of a test whose history is judged as well; the few that have more would take seconds for it."""


def nothing_is_broken() -> None:
    jobs = list(Job.objects.values_list("pk", flat=True))
    if not jobs:
        return
    assert doctor.examine(jobs) == []
    for job in jobs:
        assert faults_in_history(job) == []
    if Event.objects.count() <= MOST_JUDGED:
        # Tests here let the time of a wait be over by hand; that no timer is early is judged where the clock moves.
        assert [found for found in judged(Known()) if found.rule != "timer_early"] == []


def faults_in_history(job_id: Any) -> list[chain.Problem]:
    parts = defaultdict(list)
    for part in EventPart.objects.filter(job=job_id):
        parts[part.seq].append(chain.Part(part.name, part.value, part.salt))
    rows = Event.objects.filter(job=job_id).order_by("seq").values_list("header", "digest")
    return chain.verify([chain.SealedEvent(bytes(header), bytes(digest)) for header, digest in rows], parts)
