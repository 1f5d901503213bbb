"""One expression: a plain reference, which is followed here, or CEL, which is compiled once."""

import math
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import ModuleType
from typing import Any

# The package imports its own command line, which costs every process half a second and serves nothing here.
sys.modules.setdefault("cel.cli", ModuleType("cel.cli"))

import cel  # noqa: E402

from runtime.expressions.errors import ExpressionFailed, ExpressionInvalid  # noqa: E402

LONGEST = 4000
LONGEST_NAME = 100
DEEPEST_MACRO = 3
MOST_ROUNDS = 1_000_000
MOST_TEXT = 32_000_000
RESERVED = frozenset(
    ("as", "break", "const", "continue", "else", "false", "for", "function", "if", "import", "in", "let")
    + ("loop", "namespace", "null", "package", "return", "true", "var", "void", "while")
)
FUNCTIONS = frozenset(
    ("size", "contains", "startsWith", "endsWith", "matches", "int", "uint", "double", "string", "bytes")
    + ("timestamp", "duration", "type", "dyn", "getFullYear", "getMonth", "getDayOfYear", "getDayOfMonth")
    + ("getDate", "getDayOfWeek", "getHours", "getMinutes", "getSeconds", "getMilliseconds")
)
MACROS = frozenset({"all", "exists", "exists_one", "existsOne", "map", "filter"})
IDENTIFIER = r"[A-Za-z_][A-Za-z0-9_]*"
REFERENCE = re.compile(rf"\s*({IDENTIFIER})((?:\.{IDENTIFIER}|\[[0-9]{{1,9}}\])*)\s*", re.ASCII)
STEP = re.compile(rf"\.({IDENTIFIER})|\[([0-9]+)\]", re.ASCII)
# A string without an end reaches to the end of its line or text, so that none is looked for twice.
STRING = (
    r'[rRbB]{0,2}(?:"""(?:[^"\\]|\\.|"(?!""))*+(?:""")?|'
    + r"'''(?:[^'\\]|\\.|'(?!''))*+(?:''')?|"
    + r'"(?:[^"\\\n]|\\.)*+"?|'
    + r"'(?:[^'\\\n]|\\.)*+'?)"
)
TOKEN = re.compile(
    rf"(?P<string>{STRING})|(?P<name>{IDENTIFIER})|(?P<number>[0-9][0-9A-Za-z.]*)|(?P<mark>[^\s])", re.DOTALL
)


def is_identifier(text: str) -> bool:
    """Whether a text can be the name of a node."""
    return len(text) <= LONGEST_NAME and re.fullmatch(IDENTIFIER, text, re.ASCII) is not None


@dataclass(frozen=True, slots=True)
class Reference:
    """`order.items[0].id`: no CEL needed, and whole numbers of any size pass unchanged."""

    source: str
    root: str
    steps: tuple[str | int, ...]

    @property
    def names(self) -> frozenset[str]:
        return frozenset({self.root})

    def value(self, names: Mapping[str, Any]) -> Any:
        if self.root not in names:
            raise ExpressionFailed(self.source, f"{self.root!r} is not known here", self.root)
        value, place = names[self.root], self.root
        for step in self.steps:
            below = f"{place}[{step}]" if isinstance(step, int) else f"{place}.{step}"
            value = self._below(value, step, place, below)
            place = below
        return value

    def _below(self, value: Any, step: str | int, place: str, below: str) -> Any:
        if isinstance(step, str) and isinstance(value, dict):
            if step in value:
                return value[step]
            raise ExpressionFailed(self.source, f"{place} has no {step!r}{_has(value)}", below)
        if isinstance(step, int) and isinstance(value, list):
            if step < len(value):
                return value[step]
            raise ExpressionFailed(self.source, f"{place} has only {len(value)} items", below)
        wanted = "a list" if isinstance(step, int) else "an object"
        raise ExpressionFailed(self.source, f"{place} is {_kind(value)}, not {wanted}", below)


@dataclass(frozen=True, slots=True)
class Program:
    """A compiled CEL expression."""

    source: str
    names: frozenset[str]
    program: cel.Program
    depth: int = 0
    """How deep its macros nest."""

    def value(self, names: Mapping[str, Any]) -> Any:
        for name in self.names:
            if name not in names:
                raise ExpressionFailed(self.source, f"{name!r} is not known here", name)
        given = {name: names[name] for name in self.names}
        self._refuse_work(given)
        try:
            answer = self.program.execute(given)
        except KeyError as error:
            raise ExpressionFailed(self.source, f"there is no {error}", str(error).strip("'")) from error
        except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
            raise ExpressionFailed(self.source, str(error)) from error
        if wrong := _not_json(answer):
            raise ExpressionFailed(self.source, wrong)
        return answer

    def _refuse_work(self, given: dict[str, Any]) -> None:
        """While CEL works, no other thread of this process does: what may take long is refused beforehand."""
        joins = self.source.count("+")
        if self.depth < 2 and not joins:
            return
        longest, texts = _measured(given)
        rounds = (max(longest, self.source.count(",") + 1) * (joins + 1)) ** self.depth
        if self.depth > 1 and rounds > MOST_ROUNDS:
            raise ExpressionFailed(
                self.source, f"its macros might go round {rounds:,} times; the limit is {MOST_ROUNDS:,}"
            )
        if texts * joins > MOST_TEXT:
            raise ExpressionFailed(self.source, f"it might join texts of more than {MOST_TEXT:,} characters")


def _measured(value: Any) -> tuple[int, int]:
    """The length of the longest list or object in a value, and of all its texts together."""
    longest, texts = 0, 0
    open_: list[Any] = [value]
    while open_:
        one = open_.pop()
        if isinstance(one, str):
            texts += len(one)
        elif isinstance(one, (dict, list)):
            longest = max(longest, len(one))
            open_ += one.values() if isinstance(one, dict) else one
    return longest, texts


@lru_cache(maxsize=8192)
def compiled(source: str) -> Reference | Program:
    """The expression ready to run; raises ExpressionInvalid."""
    if len(source) > LONGEST:
        raise ExpressionInvalid(source, f"it is longer than {LONGEST} characters")
    plain = REFERENCE.fullmatch(source)
    if plain and plain[1] not in RESERVED:
        steps = tuple(name or int(index) for name, index in STEP.findall(plain[2]))
        return Reference(source, plain[1], steps)
    free, depth = _free_names(source)
    try:
        program = cel.compile(source)
    except ValueError as error:
        raise _invalid(source, str(error)) from error
    unknown = {name for name in program.functions() if name[0].isalpha()} - FUNCTIONS
    if unknown:
        raise ExpressionInvalid(source, f"there is no function {min(unknown)!r}")
    return Program(source, free & frozenset(program.variables()), program, depth)


def _free_names(source: str) -> tuple[frozenset[str], int]:
    """The names that no macro binds: `x` is not free in `items.all(x, x > 0)`. And how deep macros nest."""
    tokens = list(TOKEN.finditer(source))
    free: set[str] = set()
    bound: list[str | None] = []
    depth = 0
    for number, token in enumerate(tokens):
        text = token[0]
        before = tokens[number - 1][0] if number else ""
        after = tokens[number + 1][0] if number + 1 < len(tokens) else ""
        if text == "(":
            bound.append(after if before in MACROS and number > 1 and tokens[number - 2][0] == "." else None)
            depth = max(depth, sum(name is not None for name in bound))
            if depth > DEEPEST_MACRO:
                raise ExpressionInvalid(source, f"macros nest deeper than {DEEPEST_MACRO}", token.start())
        elif text == ")" and bound:
            bound.pop()
        elif token.lastgroup == "name" and before != "." and after != "(" and text not in bound:
            free.add(text)
    return frozenset(free - RESERVED), depth


def _invalid(source: str, message: str) -> ExpressionInvalid:
    found = re.search(r"<input>:(\d+):(\d+): (?:Syntax error: )?(.*)", message)
    if found is None:
        return ExpressionInvalid(source, message[:300])
    lines = source.split("\n")
    line, column = int(found[1]), int(found[2])
    position = sum(len(earlier) + 1 for earlier in lines[: line - 1]) + column - 1
    return ExpressionInvalid(source, found[3].split(" expecting {")[0], min(position, len(source)))


def _not_json(value: Any) -> str | None:
    match value:
        case None | bool() | int() | str():
            return None
        case float():
            return None if math.isfinite(value) else "it answers a number that is not finite"
        case list():
            return next(filter(None, map(_not_json, value)), None)
        case dict():
            if not all(isinstance(key, str) for key in value):
                return "it answers an object with keys that are not texts"
            return next(filter(None, map(_not_json, value.values())), None)
        case _:
            return f"it answers a {type(value).__name__}, which is not JSON; convert it with string(…)"


def _kind(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case str():
            return "a text"
        case list():
            return "a list"
        case dict():
            return "an object"
        case _:
            return f"a {type(value).__name__}"


def _has(value: dict[str, Any]) -> str:
    known = ", ".join(sorted(value)[:8])
    return f"; it has {known}" if known else "; it is empty"
