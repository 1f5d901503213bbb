"""Snapshots of the fold: a cache that keeps the state after any event quick to read, however long the job.

Readers make them when they had to fold far; nothing on the way of a job does. They may be deleted at any time and are
never a source; one that another version of the fold made is not used. `doctor --deep` holds them against the events.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import zlib
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any

import structlog
from django.db import DatabaseError, transaction

from runtime import fold
from runtime.fold import Folding, JobState
from runtime.graph import TaskGraph
from runtime.models import Blob, Snapshot

if TYPE_CHECKING:
    from runtime.models import Job

logger = structlog.get_logger(__name__)

EVERY = 500
"""Events at least between two snapshots; more where a job has many steps, so that they do not grow with its square."""


@cache
def version() -> str:
    """Of the code that folds."""
    return hashlib.sha256(inspect.getsource(fold).encode()).hexdigest()[:16]


def state_at(job: Job, seq: int | None = None) -> JobState:
    """The state of a job after event `seq`, or after its last one. Reads rows and runs no code of the job."""
    folding = _nearest(job, seq)
    last = folding.state.seq
    for header in _headers(job, last, seq):
        folding.apply(header)
        if header["seq"] - last >= _distance(folding):
            last = header["seq"]
            _keep(job, folding)
    folding.derive_status()
    return folding.state


def afresh(job: Job, seq: int | None = None) -> tuple[JobState, list[int]]:
    """The state from the events alone, and the snapshots, by their events, that say something else."""
    kept = dict(Snapshot.objects.filter(job=job, version=version()).values_list("seq", "state"))
    folding, wrong = Folding(_graphs(job)), []
    for header in _headers(job, 0, seq):
        folding.apply(header)
        if header["seq"] in kept and _packed(folding) != bytes(kept[header["seq"]]):
            wrong.append(header["seq"])
    folding.derive_status()
    return folding.state, wrong


def _nearest(job: Job, seq: int | None) -> Folding:
    kept = Snapshot.objects.filter(job=job, version=version()).order_by("-seq")
    found = (kept if seq is None else kept.filter(seq__lte=seq)).first()
    if found is None:
        return Folding(_graphs(job))
    return Folding.thawed(json.loads(zlib.decompress(bytes(found.state))), _graphs(job))


def _headers(job: Job, after: int, to: int | None) -> Iterator[dict[str, Any]]:
    events = job.events.filter(seq__gt=after).order_by("seq").only("job_id", "seq", "header")
    for event in (events if to is None else events.filter(seq__lte=to)).iterator():
        yield event.as_header()


def _distance(folding: Folding) -> int:
    return max(EVERY, len(folding.state.steps) // 2)


def _keep(job: Job, folding: Folding) -> None:
    row = Snapshot(job=job, seq=folding.state.seq, version=version(), state=_packed(folding))
    try:
        with transaction.atomic():
            Snapshot.objects.bulk_create([row], ignore_conflicts=True)
    except DatabaseError as error:
        # Such as of a replica, which can only be read: the next reader folds as far again.
        logger.debug("snapshot_not_kept", job=str(job.pk), error=str(error).strip())


def _packed(folding: Folding) -> bytes:
    return zlib.compress(json.dumps(folding.frozen(), separators=(",", ":")).encode(), level=1)


def _graphs(job: Job) -> Any:
    def graph_of(digest: str) -> TaskGraph:
        blob = Blob.objects.values_list("value", flat=True).get(tenant=job.tenant, digest=digest)
        return TaskGraph.recorded(blob)

    return cache(graph_of)
