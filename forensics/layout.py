"""Where the nodes of a graph stand: layers from left to right, few crossings, straight lines where it goes.

Pure functions. An edge that passes over layers gets a bend in each, so that it runs between the nodes.
"""

from collections import defaultdict, deque
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

Key = Hashable
Point = tuple[float, float]

SWEEPS = 4


@dataclass(frozen=True)
class Measures:
    """Of a drawing, in its own units."""

    width: float = 136
    height: float = 44
    gap_x: float = 62
    gap_y: float = 18
    bend: float = 14
    margin: float = 8


@dataclass(frozen=True)
class Layout:
    """Left upper corners of the nodes, the points that each edge runs through, and the size of it all."""

    corners: dict[Key, Point]
    routes: dict[tuple[Key, Key], list[Point]]
    width: float
    height: float


def layers_of(keys: Sequence[Key], edges: Iterable[tuple[Key, Key]]) -> dict[Key, int]:
    """The longest way from a beginning to each node, in an order in which parents come first."""
    children: dict[Key, list[Key]] = defaultdict(list)
    pending = dict.fromkeys(keys, 0)
    for parent, child in edges:
        children[parent].append(child)
        pending[child] += 1
    free = deque(key for key in keys if not pending[key])
    layer: dict[Key, int] = dict.fromkeys(free, 0)
    while free:
        parent = free.popleft()
        for child in children[parent]:
            layer[child] = max(layer.get(child, 0), layer[parent] + 1)
            pending[child] -= 1
            if not pending[child]:
                free.append(child)
    return layer


def place(keys: Sequence[Key], edges: Sequence[tuple[Key, Key]], measures: Measures | None = None) -> Layout:
    """Lay out a graph without cycles."""
    measures = measures or Measures()
    layer = layers_of(keys, edges)
    chains = {edge: _chain(edge, layer) for edge in edges}
    rows: list[list[Key]] = [[] for _ in range(max(layer.values(), default=-1) + 1)]
    for key in keys:
        rows[layer[key]].append(key)
    links: list[tuple[Key, Key]] = []
    for (parent, child), chain in chains.items():
        for bend in chain:
            rows[bend[2]].append(bend)
        way: list[Key] = [parent, *chain, child]
        links += zip(way, way[1:], strict=False)
    before, after = _neighbours(links)
    _uncross(rows, before, after)
    real = set(keys)
    middle = _straighten(rows, before, after, real, measures)
    return _drawn(keys, layer, chains, middle, measures)


Bend = tuple[Key, Key, int]


def _chain(edge: tuple[Key, Key], layer: Mapping[Key, int]) -> list[Bend]:
    parent, child = edge
    return [(parent, child, number) for number in range(layer[parent] + 1, layer[child])]


def _neighbours(links: Iterable[tuple[Key, Key]]) -> tuple[dict[Key, list[Key]], dict[Key, list[Key]]]:
    before: dict[Key, list[Key]] = defaultdict(list)
    after: dict[Key, list[Key]] = defaultdict(list)
    for parent, child in links:
        before[child].append(parent)
        after[parent].append(child)
    return before, after


def _uncross(rows: list[list[Key]], before: Mapping[Key, list[Key]], after: Mapping[Key, list[Key]]) -> None:
    """Order each layer by where its neighbours stand on average, forth and back a few times."""
    for sweep in range(SWEEPS):
        forth = sweep % 2 == 0
        order = range(1, len(rows)) if forth else range(len(rows) - 2, -1, -1)
        for number in order:
            beside = rows[number - 1 if forth else number + 1]
            rank = {key: place for place, key in enumerate(beside)}
            own = {key: place for place, key in enumerate(rows[number])}
            linked = before if forth else after
            rows[number].sort(
                key=lambda key: (_mean([rank[k] for k in linked.get(key, ())], own[key]), own[key])
            )


def _straighten(
    rows: list[list[Key]], before: Mapping[Key, list[Key]], after: Mapping[Key, list[Key]], real: set[Key],
    measures: Measures,
) -> dict[Key, float]:  # fmt: skip
    """Heights of the middles: near the mean of the neighbours, without overlaps and in the order found."""
    middle: dict[Key, float] = {}
    for row in rows:
        middle.update(_apart(row, dict.fromkeys(row, 0.0), real, measures))
    for sweep in range(SWEEPS * 2):
        forth = sweep % 2 == 0
        linked = before if forth else after
        for row in rows if forth else reversed(rows):
            wanted = {key: _mean([middle[k] for k in linked.get(key, ())], middle[key]) for key in row}
            middle.update(_apart(row, wanted, real, measures))
    return middle


def _apart(
    row: list[Key], wanted: Mapping[Key, float], real: set[Key], measures: Measures
) -> dict[Key, float]:
    """The wanted heights, pushed apart where they are too near, and moved back so that the mean stays."""
    placed: dict[Key, float] = {}
    last: Key | None = None
    for key in row:
        least = (
            placed[last] + _half(last, real, measures) + _half(key, real, measures) + measures.gap_y
            if last is not None
            else wanted[key]
        )
        placed[key] = max(wanted[key], least)
        last = key
    if row:
        shift = sum(placed[key] - wanted[key] for key in row) / len(row)
        placed = {key: value - shift for key, value in placed.items()}
    return placed


def _half(key: Key, real: set[Key], measures: Measures) -> float:
    return (measures.height if key in real else measures.bend) / 2


def _mean(values: list[float] | list[int], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise


def _drawn(
    keys: Sequence[Key], layer: Mapping[Key, int], chains: Mapping[tuple[Key, Key], list[Bend]],
    middle: Mapping[Key, float], measures: Measures,
) -> Layout:  # fmt: skip
    half, pitch = measures.height / 2, measures.width + measures.gap_x
    top = min((middle[key] for key in middle), default=0) - half - measures.margin
    bottom = max((middle[key] for key in middle), default=0) + half + measures.margin

    def left(number: int) -> float:
        return measures.margin + number * pitch

    corners = {key: (left(layer[key]), middle[key] - half - top) for key in keys}
    routes: dict[tuple[Key, Key], list[Point]] = {}
    for (parent, child), chain in chains.items():
        route = [(left(layer[parent]) + measures.width, middle[parent] - top)]
        for bend in chain:
            y = middle[bend] - top
            route += [(left(bend[2]), y), (left(bend[2]) + measures.width, y)]
        routes[parent, child] = [*route, (left(layer[child]), middle[child] - top)]
    deepest = max(layer.values(), default=0)
    return Layout(corners, routes, left(deepest) + measures.width + measures.margin, bottom - top)
