"""The drawing of a job's graph. Small graphs show every step; in large ones a box stands for a layer or several."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from django.db.models import Count

from forensics.layout import Key, Layout, Measures, Point, layers_of, place
from runtime.models import Edge, Job, Scope, Step
from runtime.states import StepStatus

MOST_STEPS = 200
WIDEST_LAYER = 12
MOST_LAYERS = 40
LABEL = 18
PHONE, SHRINKABLE = 800, 1800

WORST_FIRST = (
    StepStatus.FAILED,
    StepStatus.RUNNING,
    StepStatus.WAITING,
    StepStatus.READY,
    StepStatus.BLOCKED,
    StepStatus.CANCELLED,
    StepStatus.COMPLETED,
    StepStatus.SKIPPED,
)


@dataclass(frozen=True)
class Row:
    """What the drawing needs of a step."""

    id: int
    key: str
    kind: str
    status: str
    branch: str | None
    failures: int = 0
    inside: str = ""
    """What became of the copies of a sub-graph that the step expanded into."""


@dataclass(frozen=True)
class Box:
    """A step, or the steps of a group."""

    x: float
    y: float
    title: str
    label: str
    status: str
    subtitle: str
    step: str
    """The key that it leads to."""
    grouped: bool

    @property
    def middle_x(self) -> float:
        return self.x + Measures.width / 2

    @property
    def behind(self) -> Point:
        """The corner of the second box that says: there are more."""
        return (self.x + 4, self.y + 4)

    @property
    def first_line(self) -> float:
        return self.y + 18

    @property
    def second_line(self) -> float:
        return self.y + 34


@dataclass(frozen=True)
class Line:
    path: str
    state: str
    """taken, open or dead."""
    when: str
    label: Point


@dataclass(frozen=True)
class Drawing:
    boxes: list[Box]
    lines: list[Line]
    width: float
    height: float
    grouped: bool

    @property
    def is_small(self) -> bool:
        """Shown at its own size on any screen."""
        return self.width <= PHONE

    @property
    def fits(self) -> bool:
        """A little shrinking makes it fit the page; a wider one is scrolled instead."""
        return self.width <= SHRINKABLE


def draw(job: Job, scope: int | None = None) -> Drawing:
    """Read the steps and edges of one level, and draw them: the job's own, or those within a scope."""
    steps = Step.objects.filter(job=job, scope=scope).order_by("id")
    inside = _inside(list(steps.filter(open_scopes__isnull=False).values_list("id", flat=True)))
    rows = [
        Row(pk, key, kind, status, branch, failures, inside.get(pk, ""))
        for pk, key, kind, status, branch, failures in steps.values_list(
            "id", "key", "kind", "status", "branch", "failures"
        )
    ]
    edges = Edge.objects.filter(job=job, parent__scope=scope).order_by("id")
    return drawing_of(rows, list(edges.values_list("parent_id", "child_id", "when")))


def _inside(owners: list[int]) -> dict[int, str]:
    if not owners:
        return {}
    found: dict[int, Counter[str]] = {}
    counted = Scope.objects.filter(owner__in=owners).order_by().values_list("owner", "status")
    for owner, status, count in counted.annotate(Count("id")):
        found.setdefault(owner, Counter())[status] = count
    return {owner: f"{statuses.total()} × inside" for owner, statuses in found.items()}


def drawing_of(rows: Sequence[Row], edges: Sequence[tuple[int, int, str | None]]) -> Drawing:
    by_id = {row.id: row for row in rows}
    layer = layers_of([row.id for row in rows], [(parent, child) for parent, child, _ in edges])
    group = _groups(layer)
    members: dict[Key, list[Row]] = {}
    for row in sorted(rows, key=lambda row: layer[row.id]):
        members.setdefault(group[row.id], []).append(row)
    joined: dict[tuple[Key, Key], list[tuple[str, str]]] = {}
    for parent, child, when in edges:
        pair = (group[parent], group[child])
        if pair[0] != pair[1]:
            joined.setdefault(pair, []).append((_edge_state(by_id[parent], when), when or ""))
    layout = place(list(members), list(joined))
    return Drawing(
        boxes=[_box(layout.corners[key], steps) for key, steps in members.items()],
        lines=[_line(layout, pair, states) for pair, states in joined.items()],
        width=layout.width,
        height=layout.height,
        grouped=len(members) < len(rows),
    )


def _groups(layer: Mapping[Key, int]) -> dict[Key, Key]:
    """Which box a step belongs to: its own, or that of its layer where there is no room for each."""
    width = Counter(layer.values())
    if len(layer) > MOST_STEPS:
        bundle = -(-len(width) // MOST_LAYERS)
        return {step: ("layer", number // bundle) for step, number in layer.items()}
    return {step: ("layer", n) if width[n] > WIDEST_LAYER else step for step, n in layer.items()}


def _edge_state(parent: Row, when: str | None) -> str:
    if parent.status == StepStatus.COMPLETED:
        return "taken" if when is None or when == parent.branch else "dead"
    if parent.status == StepStatus.FAILED:
        return "taken" if when == "failed" else "dead"
    return "dead" if parent.status in (StepStatus.SKIPPED, StepStatus.CANCELLED) else "open"


def _box(corner: Point, steps: list[Row]) -> Box:
    first = steps[0]
    if len(steps) == 1:
        told = first.inside or (f"{first.failures} failed" if first.failures else first.status)
        return Box(
            *corner, first.key, _cut(first.key), first.status, _cut(f"{first.kind} · {told}", 24), first.key, False
        )  # fmt: skip
    counted = Counter(row.status for row in steps)
    worst = next(status for status in WORST_FIRST if counted[status])
    told = ", ".join(f"{counted[status]} {status.value}" for status in WORST_FIRST if counted[status])
    title = f"{len(steps)} steps from {first.key} to {steps[-1].key}: {told}"
    chosen = next(row for row in steps if row.status == worst)
    return Box(*corner, title, f"{len(steps)} steps", worst.value, _cut(told, 24), chosen.key, True)


def _cut(text: str, longest: int = LABEL) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _line(layout: Layout, pair: tuple[Key, Key], states: Iterable[tuple[str, str]]) -> Line:
    states = list(states)
    seen = {state for state, _ in states}
    state = next(state for state in ("taken", "open", "dead") if state in seen)
    whens = list(dict.fromkeys(when for _, when in states if when))
    route = layout.routes[pair]
    (x1, y1), (x2, y2) = route[0], route[1]
    return Line(_path(route), state, whens[0] if len(whens) == 1 else "", ((x1 + x2) / 2, (y1 + y2) / 2 - 4))


def _path(route: list[Point]) -> str:
    """Level through boxes' places, curved between them."""
    (x, y), *following = route
    parts = [f"M{x:.1f} {y:.1f}"]
    for next_x, next_y in following:
        bend = (next_x - x) / 2
        straight = abs(next_y - y) < 0.5
        parts.append(
            f"L{next_x:.1f} {next_y:.1f}" if straight
            else f"C{x + bend:.1f} {y:.1f} {next_x - bend:.1f} {next_y:.1f} {next_x:.1f} {next_y:.1f}"
        )  # fmt: skip
        x, y = next_x, next_y
    return "".join(parts)
