"""Reading a job's past in pages: events with their payload parts, and its steps counted by status."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from django.db.models import Count

from runtime import blobs
from runtime.models import Blob, Event, EventPart, Job, Step
from runtime.states import StepStatus

Parts = dict[int, dict[str, Any]]
"""Number of an event → name of a part → its value; None where it is withheld."""


@dataclass(frozen=True)
class EventsPage:
    events: list[Event]
    parts: Parts
    next_after: int | None


def events_after(job: Job, after: int, limit: int, *, payloads: bool) -> EventsPage:
    """`limit` events that follow event `after`, in order. The names of parts are shown to everyone."""
    events = list(Event.objects.filter(job=job, seq__gt=after).order_by("seq")[:limit])
    last = events[-1].seq if events else after
    return EventsPage(
        events, _parts(job, after, last, payloads=payloads), last if last < job.seq and events else None
    )


def _parts(job: Job, after: int, last: int, *, payloads: bool) -> Parts:
    parts: Parts = defaultdict(dict)
    rows = EventPart.objects.filter(job=job, seq__gt=after, seq__lte=last).order_by("seq", "name")
    if not payloads:
        for seq, name in rows.values_list("seq", "name"):
            parts[seq][name] = None
        return parts
    found = {(seq, name): value for seq, name, value in rows.values_list("seq", "name", "value")}
    for (seq, name), value in blobs.all_whole(job.tenant, found).items():
        parts[seq][name] = value
    return parts


def counts(job: Job) -> dict[str, int]:
    """Steps by status, in the order of a step's life."""
    rows = dict(Step.objects.filter(job=job).order_by().values_list("status").annotate(Count("id")))
    return {status: rows[status] for status in StepStatus.values if status in rows}


OUTLINE = ("id", "kind", "tool", "function", "agent", "join", "timeout", "retry", "queue", "priority")


def outline(graph: dict[str, Any]) -> dict[str, Any]:
    """A graph without what may be payloads: inputs, prompts, expressions, and graphs inside of nodes."""
    nodes = [{key: node[key] for key in OUTLINE if key in node} for node in graph["nodes"]]
    return {"nodes": nodes, "edges": graph.get("edges", [])}


def graph_of(job: Job) -> dict[str, Any]:
    """The graph that the job runs, in wire form."""
    return Blob.objects.values_list("value", flat=True).get(  # type: ignore[no-any-return]
        tenant=job.tenant, digest=job.graph_digest
    )
