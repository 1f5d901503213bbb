"""Writes what the database holds, and what a harness knows beside it, as a history for the checker.

The format is told in docs/testing.md. Everything is read in one snapshot, some hundred jobs at a time.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Any, TextIO
from uuid import UUID

from django.db import connection, transaction
from django.db.models import F, QuerySet

from runtime import blobs, chain, clock
from runtime.models import Edge, Event, EventPart, Job, LedgerEntry, Signal, Step, Wait
from tests.history.checker import Violation, judge
from tests.history.checker.history import FORMAT

AT_ONCE = 200
"""Jobs that are read at a time."""

Record = dict[str, Any]


@dataclass(frozen=True)
class Known:
    """What a harness knows of its run. What is None it does not know, and the checker asks nothing about it."""

    at_rest: bool = False
    """Nothing moves any more: every job has ended, is paused, or waits."""
    truthful: bool = True
    """Tools, their `verify` and people say what is so."""
    tools: Mapping[str, str] = field(default_factory=dict)
    """Of tools that act on the world: `effects` where it counts what happened, `requests` where it counts what came."""
    effects: Iterable[Record] | None = None
    """All that happened: `key`, and where the world has a clock `at`."""
    faults: Iterable[Record] | None = None
    """All that the harness did: `class` (process, database, network, clock, call, redis, client), `kind`, `at`, and
    for a worker that was killed for good its incarnation, `worker`."""
    submits: Iterable[UUID] = ()
    """Jobs that a client was told are accepted."""
    signalled: Iterable[tuple[UUID, str, str]] = ()
    """Signals that a client was told are accepted: job, name, `dedup_id`."""
    seen: Iterable[tuple[UUID, int, bytes]] = ()
    """Events that a client has seen: job, seq, digest."""

    def records(self) -> Iterator[Record]:
        knows = [name for name in ("effects", "faults") if getattr(self, name) is not None]
        yield {
            "record": "run",
            "format": FORMAT,
            "exported_at": clock.database_now(),
            "at_rest": self.at_rest,
            "truthful": self.truthful,
            "knows": knows,
        }
        for name, counts in self.tools.items():
            yield {"record": "tool", "name": name, "counts": counts}
        for kind, records in (("effect", self.effects), ("fault", self.faults)):
            yield from ({"record": kind, **record} for record in records or ())
        yield from ({"record": "submit", "job": job} for job in self.submits)
        for job, name, dedup_id in self.signalled:
            yield {"record": "signalled", "job": job, "name": name, "dedup_id": dedup_id}
        for job, seq, digest in self.seen:
            yield {"record": "seen", "job": job, "seq": seq, "digest": digest}


def judged(known: Known, jobs: QuerySet[Job] | None = None) -> list[Violation]:
    """What the checker finds in these jobs, or in all."""
    return judge(lines(known, jobs))


def export(file: TextIO, known: Known, jobs: QuerySet[Job] | None = None) -> None:
    """Write the history of these jobs, or of all."""
    for line in lines(known, jobs):
        file.write(line + "\n")


def lines(known: Known, jobs: QuerySet[Job] | None = None) -> Iterator[str]:
    with _one_snapshot():
        for record in known.records():
            yield _line(record)
        chosen = Job.objects.all() if jobs is None else jobs
        ids = list(chosen.order_by("pk").values_list("pk", flat=True))
        for first in range(0, len(ids), AT_ONCE):
            yield from map(_line, _jobs(ids[first : first + AT_ONCE]))


@contextmanager
def _one_snapshot() -> Iterator[None]:
    is_outermost = not connection.in_atomic_block
    with transaction.atomic():
        if is_outermost:
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        yield


def _jobs(ids: Sequence[UUID]) -> Iterator[Record]:
    parts = _parts(ids)
    tables = [
        _by_job("step", Step.objects.filter(job__in=ids).order_by("pk"), STEP),
        _by_job("edge", Edge.objects.filter(job__in=ids).order_by("pk"), EDGE),
        _by_job("entry", LedgerEntry.objects.filter(job__in=ids).order_by("pk"), ENTRY),
        _by_job("wait", Wait.objects.filter(job__in=ids).order_by("pk"), WAIT),
        _by_job("signal", Signal.objects.filter(job__in=ids).order_by("pk"), SIGNAL),
        _by_job("event", Event.objects.filter(job__in=ids).order_by("seq"), EVENT),
    ]
    for row in Job.objects.filter(pk__in=ids).order_by("pk").values(*JOB, job_id=F("pk")):
        yield _of_job(row)
        for table in tables:
            for record in table[row["job_id"]]:
                if record["record"] == "event":
                    record["header"] = bytes(record["header"]).decode()
                    record["parts"] = parts[row["job_id"], record["seq"]]
                yield record


JOB = ("status", "compensate", "seq", "head", "paused_at", "result", "parent_step__job", "parent_step__key")
STEP: Mapping[str, Any] = {
    **{
        name: F(name)
        for name in ("key", "kind", "status", "attempt", "waiting_for", "branch", "join_needed", "result")
    },
    "owner": F("scope__owner__key"),
}
EDGE: Mapping[str, Any] = {"parent": F("parent__key"), "child": F("child__key"), "when": F("when")}
ENTRY: Mapping[str, Any] = {
    **{name: F(name) for name in ("call", "generation", "name", "state", "source", "policy", "result")},
    "step": F("step__key"),
    "key": F("idempotency_key"),
    "undone_by": F("undone_by__key"),
}
WAIT: Mapping[str, Any] = {
    "step": F("step_key"),
    **{name: F(name) for name in ("kind", "name", "deadline_at", "closed_at")},
}
SIGNAL: Mapping[str, Any] = {name: F(name) for name in ("id", "name", "dedup_id", "state", "digest")}
EVENT: Mapping[str, Any] = {name: F(name) for name in ("seq", "type", "step", "attempt", "header", "digest")}


def _by_job(kind: str, rows: QuerySet[Any], columns: Mapping[str, Any]) -> dict[UUID, list[Record]]:
    own = [name for name, source in columns.items() if source.name == name]
    renamed = {f"as_{name}": source for name, source in columns.items() if source.name != name}
    found: dict[UUID, list[Record]] = defaultdict(list)
    for row in rows.values("job_id", *own, **renamed):
        record = {"record": kind, **{name.removeprefix("as_"): value for name, value in row.items()}}
        if "result" in record:
            record["result"] = _digest(record["result"])
        found[record.pop("job_id")].append(_entry(record) if kind == "entry" else record)
    return found


def _of_job(row: Record) -> Record:
    told = {**{name: row[name] for name in JOB[:5]}, "result": _digest(row["result"])}
    parent = {"job": row["parent_step__job"], "step": row["parent_step__key"]}
    return {"record": "job", "id": row["job_id"], **told, "parent": parent if parent["job"] else None}


def _digest(value: Any) -> str | None:
    """The digest of a result, which is also that under which a large one is kept apart."""
    if type(value) is blobs.Kept:
        return value.digest
    return None if value is None else sha256(chain.canonical(value)).hexdigest()


def _entry(record: Record) -> Record:
    policy = record.pop("policy")
    told = {name: bool(policy.get(name)) for name in ("read_only", "idempotent")}
    return {**record, **told, "compensates": "compensate" in policy}


def _parts(ids: Sequence[UUID]) -> dict[tuple[UUID, int], list[Record]]:
    found: dict[tuple[UUID, int], list[Record]] = defaultdict(list)
    rows = EventPart.objects.filter(job__in=ids).values_list(
        "job", "job__tenant", "seq", "name", "salt", "value"
    )
    by_tenant: dict[str, dict[tuple[UUID, int, str, str], Any]] = defaultdict(dict)
    for job, tenant, seq, name, salt, value in rows:
        by_tenant[tenant][job, seq, name, salt] = value
    for tenant, values in by_tenant.items():
        for (job, seq, name, salt), value in blobs.all_whole(tenant, values).items():
            found[job, seq].append({"name": name, "salt": salt, "value": value})
    return found


def _line(record: Record) -> str:
    return json.dumps(record, default=_plain, ensure_ascii=False, separators=(",", ":"))


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, bytes | memoryview):
        return bytes(value).hex()
    if isinstance(value, UUID):
        return str(value)
    raise TypeError(f"no JSON for a {type(value).__name__}")
