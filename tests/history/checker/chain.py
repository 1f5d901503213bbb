"""The events of a job as a chain: whole, in order, and of the bytes that were hashed."""

from collections.abc import Iterator

from tests.history.checker import digests
from tests.history.checker.history import Event, Job
from tests.history.checker.violation import Violation

GENESIS = "0" * 64
COLUMNS = ("seq", "type", "step", "attempt")


def violations(job: Job) -> Iterator[Violation]:
    previous, at = GENESIS, ""
    for number, event in enumerate(job.events, start=1):
        if event.seq != number:
            yield job.broken("gap", f"event {number} is missing", event)
            return
        header = event.row["header"].encode()
        if digests.digest(header) != event.row["digest"]:
            yield job.broken("digest", "its digest is not that of its header", event)
        if not _is_canonical(event):
            yield job.broken("header", "its header is not canonical, or says other than its row", event)
            return
        if event.said["prev"] != previous or event.said["job"] != job.id:
            yield job.broken("link", "it does not follow the event before it", event)
        if event.said["at"] < at:
            yield job.broken("time", f"it happened at {event.said['at']}, before {at}", event)
        previous, at = event.row["digest"], max(at, event.said["at"])
    if (job.row["seq"], job.row["head"]) != (len(job.events), previous):
        yield job.broken("head", f"its row names event {job.row['seq']}, there are {len(job.events)}")
    yield from _payloads(job)


def _is_canonical(event: Event) -> bool:
    said = event.said
    if not said or digests.canonical(said) != event.row["header"]:
        return False
    return all(said.get(name) == event.row[name] for name in COLUMNS)


def _payloads(job: Job) -> Iterator[Violation]:
    erased = {
        one for event in job.events if event.type == "operator_acted" for one in event.data.get("erased", ())
    }
    for event in job.events:
        if "parts" not in event.row:
            continue
        committed = set(event.said["sd"])
        present = {
            digests.commitment(part["salt"], part["name"], part["value"]) for part in event.row["parts"]
        }
        if present - committed:
            yield job.broken("payload", "a payload is not what it commits to", event)
        elif committed - present - erased:
            yield job.broken("payload", "a payload is missing that nobody erased", event)
