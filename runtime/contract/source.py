"""The source of functions: parsed once a file, with the scope of every name and the suppressions in it."""

from __future__ import annotations

import ast
import functools
import inspect
import io
import linecache
import re
import tokenize
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import CodeType, FunctionType
from typing import Any

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda

_ALLOW = re.compile(r"#\s*aetheris:\s*(?:allow\s*\[(?P<codes>[^\]]*)\]\s*(?P<reason>[^#]*))?")


@dataclass(frozen=True, slots=True)
class Suppression:
    """`# aetheris: allow[clock, random] reason`. A comment that says neither codes nor reason has neither."""

    line: int
    codes: frozenset[str]
    reason: str


class Source:
    """One file."""

    def __init__(self, file: str, text: str) -> None:
        self.file = file
        self.tree = ast.parse(text)
        self.suppressions = {one.line: one for one in _suppressions(text)}
        self._functions = {_key(node): node for node in ast.walk(self.tree) if isinstance(node, FunctionNode)}

    def function(self, code: CodeType) -> FunctionNode | None:
        """The node that a code object was compiled from."""
        return self._functions.get((code.co_firstlineno, code.co_name))

    def allows(self, code: str, *lines: int) -> bool:
        """Whether a suppression with a reason stands on one of the lines."""
        found = (self.suppressions.get(line) for line in lines)
        return any(one is not None and one.reason and code in one.codes for one in found)


def plain_function(function: Callable[..., Any]) -> FunctionType | None:
    """The Python function behind partials, wrappers, bound methods and callable objects."""
    while not isinstance(function, FunctionType):
        if isinstance(function, functools.partial):
            function = function.func
        elif inspect.ismethod(function):
            function = function.__func__
        elif hasattr(function, "__wrapped__"):
            function = function.__wrapped__
        elif isinstance(method := vars(type(function)).get("__call__"), FunctionType):
            function = method
        else:
            return None
    unwrapped = inspect.unwrap(function)
    return unwrapped if isinstance(unwrapped, FunctionType) else function


def source_of(function: FunctionType) -> Source | None:
    """None where there is no source to read, as in a shell."""
    return source_at(function.__code__.co_filename, function.__globals__)


def source_at(file: str, namespace: dict[str, Any] | None = None) -> Source | None:
    linecache.checkcache(file)
    text = "".join(linecache.getlines(file, namespace))
    return _parsed(file, text) if text else None


@functools.lru_cache(maxsize=512)
def _parsed(file: str, text: str) -> Source | None:
    try:
        return Source(file, text)
    except (SyntaxError, ValueError):
        return None  # what runs is not what the file holds now


def _key(node: FunctionNode) -> tuple[int, str]:
    if isinstance(node, ast.Lambda):
        return node.lineno, "<lambda>"
    return min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)]), node.name


def _suppressions(text: str) -> Iterator[Suppression]:
    if "aetheris:" not in text:
        return
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT and (found := _ALLOW.match(token.string)):
            codes = (code.strip() for code in (found["codes"] or "").split(","))
            yield Suppression(token.start[0], frozenset(filter(None, codes)), (found["reason"] or "").strip())
