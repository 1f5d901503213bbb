"""What the page of a job shows, read in a bounded number of queries and clipped to what a page can bear."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from django.db.models import F, Func, JSONField, OuterRef, QuerySet, Subquery, TextField, Value
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Coalesce, Left

from forensics.answers import AnswerForm
from forensics.drawing import Drawing, draw
from runtime import history, permissions
from runtime.approvals import may_decide
from runtime.blobs import MARK
from runtime.models import Blob, Event, EventPart, Job, LedgerEntry, Scope, Step, Wait
from runtime.states import StepStatus

CLIP = 4000
STEPS_SHOWN = 100
EVENTS_SHOWN = 50
OPEN_SHOWN = 20

PAYLOADS = ("input", "result")


def clipped(column: str, tenant: str) -> Left:
    """A payload as readable text, cut by the database: what is not shown does not travel."""
    kept_apart = Blob.objects.filter(tenant=tenant, digest=KeyTextTransform(MARK, OuterRef(column)))
    value = Coalesce(Subquery(kept_apart.values("value")), F(column), output_field=JSONField())
    pretty = Func(value, function="jsonb_pretty", output_field=TextField())
    return Left(pretty, CLIP + 1)


@dataclass(frozen=True)
class Payload:
    """A named payload as text; `whole` is where all of it is."""

    name: str
    text: str
    whole: str = ""

    @property
    def is_cut(self) -> bool:
        return len(self.text) > CLIP

    @property
    def shown(self) -> str:
        return self.text[:CLIP]


@dataclass
class EventRow:
    event: Event
    parts: list[Payload]
    names: list[str]
    """Parts that are withheld."""


@dataclass
class OpenWait:
    """A wait that holds the job up, and the form that ends it where the reader may."""

    wait: Wait
    form: AnswerForm | None = None
    may_signal: bool = False
    error: str = ""
    sent: str = "null"

    @property
    def child(self) -> str:
        """The id of the job that a `subjob` waits for."""
        return self.wait.name.removeprefix("subjob:") if self.wait.kind == "subjob" else ""


@dataclass
class Doubt:
    """A call that waits for a person: nobody knows whether it happened, or it is to be undone and cannot be."""

    entry: LedgerEntry
    arguments: str
    refusal: str = ""
    error: str = ""
    sent: dict[str, str] = field(default_factory=dict)


@dataclass
class StepPanel:
    step: Step
    payloads: list[Payload]
    ledger: list[LedgerEntry]
    waits: list[Wait]
    scopes: list[Scope]


@dataclass
class JobPage:
    job: Job
    payloads_shown: bool
    may_operate: bool
    counts: dict[str, int]
    waits: list[OpenWait]
    doubts: list[Doubt]
    payloads: list[Payload]
    steps: list[Step]
    steps_before: bool
    steps_after: int | None
    events: list[EventRow]
    older_than: int | None
    drawing: Drawing
    panel: StepPanel | None
    scope: Scope | None
    submitter: str

    @property
    def failed(self) -> bool:
        return self.job.error is not None

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    @property
    def ended(self) -> int:
        return sum(self.counts.get(s, 0) for s in ("completed", "failed", "skipped", "cancelled"))


@dataclass(frozen=True)
class Window:
    """Which part of a long job is looked at; all of it stands in the address."""

    step: str = ""
    status: str = ""
    steps_after: int = 0
    events_before: int | None = None
    scope: int | None = None

    @property
    def keep(self) -> str:
        """What addresses that look at something else within the same scope begin with."""
        return f"scope={self.scope}&" if self.scope else ""


def read(job: Job, user: Any, window: Window, forms: dict[int, AnswerForm] | None = None) -> JobPage:
    """`forms` are those that were sent and refused, by wait."""
    payloads_shown = permissions.sees_payloads(user, job)
    scope = Scope.objects.filter(job=job, pk=window.scope).first() if window.scope else None
    steps, following = _steps(job, window)
    events, older = _events(job, window.events_before, payloads_shown)
    return JobPage(
        job=job,
        payloads_shown=payloads_shown,
        may_operate=permissions.may_operate(user),
        counts=history.counts(job),
        waits=_waits(job, user, forms or {}),
        doubts=_doubts(job, payloads_shown),
        payloads=_job_payloads(job) if payloads_shown else [],
        steps=steps,
        steps_before=window.steps_after > 0,
        steps_after=following,
        events=events,
        older_than=older,
        drawing=draw(job, scope.pk if scope else None),
        scope=scope,
        panel=_panel(job, window.step, payloads_shown) if window.step else None,
        submitter=permissions.names_of([job.submitted_by]).get(job.submitted_by, job.submitted_by),
    )


def _job_payloads(job: Job) -> list[Payload]:
    row = Job.objects.filter(pk=job.pk).values_list(*(clipped(name, job.tenant) for name in PAYLOADS)).get()
    whole = f"/api/v1/jobs/{job.pk}"
    return [Payload(name, text, whole) for name, text in zip(PAYLOADS, row, strict=True) if text is not None]


def _steps(job: Job, window: Window) -> tuple[list[Step], int | None]:
    rows = Step.objects.for_list().filter(job=job, pk__gt=window.steps_after).select_related("worker")
    if window.scope:
        rows = rows.filter(scope=window.scope)
    if window.status in StepStatus.values:
        rows = rows.filter(status=window.status)
    steps = list(rows.order_by("pk")[: STEPS_SHOWN + 1])
    following = steps[STEPS_SHOWN - 1].pk if len(steps) > STEPS_SHOWN else None
    return steps[:STEPS_SHOWN], following


def _events(job: Job, before: int | None, payloads: bool) -> tuple[list[EventRow], int | None]:
    """The newest first; `before` asks for older ones."""
    rows = Event.objects.filter(job=job)
    if before is not None:
        rows = rows.filter(seq__lt=before)
    events = list(rows.order_by("-seq")[:EVENTS_SHOWN])
    if not events:
        return [], None
    first, last = events[-1].seq, events[0].seq
    parts: dict[int, list[Payload]] = {}
    names: dict[int, list[str]] = {}
    found = EventPart.objects.filter(job=job, seq__gte=first, seq__lte=last).order_by("seq", "name")
    text = clipped("value", job.tenant) if payloads else Value("", output_field=TextField())
    for seq, name, value in found.values_list("seq", "name", text):
        if payloads:
            whole = f"/api/v1/jobs/{job.pk}/events?after={seq - 1}&limit=1"
            parts.setdefault(seq, []).append(Payload(name, value or "null", whole))
        else:
            names.setdefault(seq, []).append(name)
    shown = [EventRow(event, parts.get(event.seq, []), names.get(event.seq, [])) for event in events]
    return shown, first if first > 1 else None


def _waits(job: Job, user: Any, forms: dict[int, AnswerForm]) -> list[OpenWait]:
    signals = permissions.may_signal(user, job)
    found = []
    outside = job.waits.filter(closed_at__isnull=True).exclude(kind="scopes")
    for wait in outside.order_by("id")[:OPEN_SHOWN]:
        form = None
        if wait.kind == "approval" and may_decide(wait, user):
            form = forms.get(wait.pk) or AnswerForm(wait.schema, f"answer-{wait.pk}")
        found.append(OpenWait(wait, form, signals and wait.kind == "signal"))
    return found


def _doubts(job: Job, payloads: bool) -> list[Doubt]:
    entries: QuerySet[LedgerEntry] = LedgerEntry.objects.filter(job=job).undecided()
    refusal = Wait.objects.open().filter(step=OuterRef("undone_by"), kind="refused").values("prompt")[:1]
    shown = (
        entries.defer("arguments", "result", "usage")
        .select_related("step")
        .annotate(text=clipped("arguments", job.tenant), refusal=Subquery(refusal))
    )
    return [
        Doubt(entry, entry.text, entry.refusal or "") if payloads else Doubt(entry, "")
        for entry in shown.order_by("id")[:OPEN_SHOWN]
    ]


def _panel(job: Job, key: str, payloads: bool) -> StepPanel | None:
    columns = ("config", "result", "error")
    found = Step.objects.for_list().filter(job=job, key=key).select_related("worker")
    step = found.annotate(**{f"{name}_text": clipped(name, job.tenant) for name in columns}).first()
    if step is None:
        return None
    whole = f"/api/v1/jobs/{job.pk}/steps/{key}"
    texts = [(name, getattr(step, f"{name}_text")) for name in columns] if payloads else []
    entries = (
        LedgerEntry.objects.filter(job=job, step=step).defer("arguments", "result", "usage").order_by("id")
    )
    waits = Wait.objects.filter(job=job, step=step).order_by("id")
    return StepPanel(
        step,
        [Payload(name, text, whole) for name, text in texts if text is not None],
        list(entries[:OPEN_SHOWN]),
        list(waits[:OPEN_SHOWN]),
        list(step.scopes.order_by("index")[:STEPS_SHOWN]) if step.open_scopes is not None else [],
    )
