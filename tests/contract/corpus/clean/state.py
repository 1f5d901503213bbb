"""Things that change, as long as the step lives."""

# mypy: ignore-errors

import functools
import itertools
import json
import re
from collections import Counter, defaultdict, deque
from dataclasses import dataclass, field
from enum import Enum

from runtime.outcomes import Completed, Retry, Waiting

RATES = {"EUR": 1.0, "USD": 1.1}
WORDS = re.compile(r"\w+")
HANDLERS = {}
LIMITS = [10, 100]


def handler(name):
    """Fills the registry while the module loads."""

    def register(function):
        HANDLERS[name] = function
        return function

    return register


@handler("double")
def double(value):
    return value * 2


class Colour(Enum):
    RED = "red"


@dataclass
class Basket:
    items: list = field(default_factory=list)
    counts: Counter = field(default_factory=Counter)

    def add(self, item):
        self.items.append(item)
        self.counts[item] += 1

    @property
    def total(self):
        return len(self.items)


@functools.lru_cache(maxsize=10)
def fibonacci(number):
    return number if number < 2 else fibonacci(number - 1) + fibonacci(number - 2)


def converted(context, amount, currency):
    return amount * RATES[currency] + LIMITS[0]


def dispatched(context, name, value):
    return HANDLERS[name](value)


def counted(context, text):
    counts = Counter(WORDS.findall(text))
    counts.update({"extra": 1})
    return dict(counts)


def grouped(context, rows):
    groups = defaultdict(list)
    for row in rows:
        groups[row["kind"]].append(row)
    return {kind: len(members) for kind, members in sorted(groups.items())}


def filled(context, items):
    basket = Basket()
    for item in items:
        basket.add(item)
    return basket.total


def closed_over(context, items):
    total = 0

    def add(value):
        nonlocal total
        total += value

    for item in items:
        add(item)
    return total


def queued(context, items):
    waiting = deque(items)
    waiting.appendleft(0)
    seen = []
    while waiting:
        seen.append(waiting.popleft())
    return seen


def numbered(context, items):
    numbers = itertools.count(1)
    return {next(numbers): item for item in items}


def hidden(context, items):
    """A local name hides the module's."""
    LIMITS = []
    LIMITS.append(len(items))
    RATES = {"one": 1}
    RATES["two"] = 2
    return [LIMITS, RATES]


def copied(context):
    rates = dict(RATES)
    rates["GBP"] = 0.9
    del rates["USD"]
    return rates


def remembered(context, number):
    return fibonacci(number)


def sorted_by(context, rows):
    rows.sort(key=lambda row: (row["day"], -row["amount"]))
    return [row["id"] for row in rows]


def chosen(context, value):
    match value:
        case {"kind": "red", "items": [first, *rest]}:
            return [Colour.RED.value, first, len(rest)]
        case str() as text:
            return text.title()
        case _:
            return json.dumps(value, sort_keys=True)


def ended(context, amount):
    if amount < 0:
        return Retry({"type": "Negative", "message": "later"})
    if amount == 0:
        return Waiting(kind="signal", name="paid")
    return Completed(amount, branch="paid")


def defaulted(context, items=(), options=None):
    options = options or {}
    options.setdefault("limit", len(items))
    return options


def generated(context, items):
    def pairs():
        for left, right in itertools.pairwise(items):
            yield left + right

    return list(pairs())


def walked(context, tree):
    def depth(node):
        return 1 + max((depth(child) for child in node.get("children", [])), default=0)

    return depth(tree)


def mapped(context, values):
    return list(filter(lambda value: value > 1, values))


def built(context, names):
    text = ""
    for name in names:
        text += f"{name}, "
    return text.rstrip(", ")
