"""`verify`: the chain is recomputed, then every attempt that its step ended itself is run again on the record.

No tool, model or request is executed and no row is written; the first thing that is not as recorded is named.
"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from runtime import blobs, chain
from runtime.conf import settings
from runtime.models import Event, EventPart, Job
from runtime.replays.attempts import run_again
from runtime.replays.record import Attempt, Record
from runtime.replays.report import Diverged, Divergence, LeftOut, Verification

PAGE = 500


def verify(job: Job, *, seconds: float | None = None, within: float = math.inf) -> Verification:
    """Verify a job and its subjobs. Each attempt may take `seconds`; by default `REPLAY_SECONDS` of the settings.

    The attempts of all of them may take `within` seconds together; what is not done by then is left out, and counted
    as `late`. The chain is always checked to its end.
    """
    until = time.monotonic() + within
    seconds = settings().replay_seconds if seconds is None else seconds
    found = Verification(job.pk, events=job.seq, faults=chain_faults(job))
    if not found.faults:
        _run_attempts(job, found, seconds, until)
    if found.is_good:
        for child in Job.objects.filter(parent_step__job=job).order_by("id").iterator():
            found.subjobs.append(verify(child, seconds=seconds, within=until - time.monotonic()))
            if not found.is_good:
                break
    return found


def chain_faults(job: Job) -> list[dict[str, Any]]:
    """Where the stored history of a job is not what was recorded: digests, links and commitments, by event."""
    head: list[chain.SealedEvent] = []

    def events() -> Iterator[chain.SealedEvent]:
        rows = Event.objects.filter(job=job, seq__lte=job.seq).order_by("seq")
        for header, digest in rows.values_list("header", "digest").iterator(chunk_size=PAGE):
            head[:] = [chain.SealedEvent(bytes(header), bytes(digest))]
            yield head[0]

    faults = [
        {"event": fault.seq, "code": fault.code, "message": fault.message}
        for fault in chain.verify(events(), _Parts(job))
    ]
    if not head or head[0].digest != bytes(job.head):
        told = f"the job ends with {bytes(job.head).hex()}, its last event is another"
        faults.append({"event": job.seq, "code": "head", "message": told})
    return sorted(faults, key=lambda fault: fault["event"])


class _Parts(Mapping[int, list[chain.Part]]):
    """The payloads of a job by event, a page at a time: they are asked for in order."""

    def __init__(self, job: Job) -> None:
        self._tenant = job.tenant
        self._job = job
        self._rows = EventPart.objects.filter(job=job, seq__lte=job.seq)
        self._seqs = list(self._rows.order_by("seq").values_list("seq", flat=True).distinct())
        self._page: dict[int, list[chain.Part]] = {}
        self._read_to = 0

    def __getitem__(self, seq: int) -> list[chain.Part]:
        if seq > self._read_to:
            self._read(seq)
        return self._page[seq]

    def __iter__(self) -> Iterator[int]:
        return iter(self._seqs)

    def __len__(self) -> int:
        return len(self._seqs)

    def _read(self, seq: int) -> None:
        page = defaultdict(list)
        self._read_to = seq + PAGE
        rows = self._rows.filter(seq__gte=seq, seq__lte=self._read_to)
        found = {row[:3]: row[3] for row in rows.values_list("seq", "name", "salt", "value")}
        for (number, name, salt), value in blobs.all_whole(self._tenant, found).items():
            page[number].append(chain.Part(name, value, salt))
        self._page = dict(page)


def _run_attempts(job: Job, found: Verification, seconds: float, until: float) -> None:
    record = Record(job)
    for attempt in record.attempts():
        try:
            effects = _run_in_time(record, attempt, seconds, until)
        except LeftOut as left_out:
            found.left_out[left_out.reason] += 1
        except Diverged as fault:
            found.divergence = Divergence(
                job.pk, attempt.step, attempt.number, attempt.ended, fault.what, fault.expected, fault.got
            )
            return
        else:
            found.attempts += 1
            found.effects += effects


def _run_in_time(record: Record, attempt: Attempt, seconds: float, until: float) -> int:
    """As `run_again`. That the time for all attempts ends is no fault of the one that is cut by it."""
    left = until - time.monotonic()
    try:
        if left > 0:
            return run_again(record, attempt, min(seconds, left))
    except Diverged as fault:
        if fault.what != "time" or seconds <= left:
            raise
    raise LeftOut("The time for all attempts is over.", "late")
