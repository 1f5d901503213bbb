"""Making a mutant live: a function of the gate in the test's database, or one of Python's in this process."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any, NamedTuple

from django.db import connection

from runtime import sql

RUNTIME = Path(sql.__file__).parents[1]


class Mutant(NamedTuple):
    name: str
    file: str
    """Below `runtime/`."""
    old: str
    new: str
    tests: str
    """Those of which one must fail: `file::test` below `tests/engine/`, apart by blanks."""

    @property
    def nodes(self) -> list[str]:
        places = (node.split("::") for node in self.tests.split())
        return [f"tests/engine/test_{file}.py::{test}" for file, test in places]

    @property
    def is_sql(self) -> bool:
        return self.file.endswith(".sql")


class DoesNotFit(Exception):
    """The text that a mutant changes is not in its file, or stands there more than once."""

    def __init__(self, mutant: Mutant, count: int) -> None:
        super().__init__(
            f"runtime/{mutant.file} has the old text of mutant {mutant.name!r} {count} times, not once: "
            "write it anew in tests/mutants/mutants.py, or take the mutant away with what it was about"
        )


def mutated(mutant: Mutant, text: str) -> str:
    if (count := text.count(mutant.old)) != 1:
        raise DoesNotFit(mutant, count)
    return text.replace(mutant.old, mutant.new)


@contextmanager
def in_database(mutant: Mutant) -> Iterator[None]:
    """The database has the mutant's function, until the end of the block."""
    name = mutant.file.removeprefix("sql/")
    statement = next((s for s in sql.statements(name) if mutant.old in s), "")
    changed = mutated(mutant, statement)
    try:
        _execute(changed)
        yield
    finally:
        _execute(statement)


def in_this_process(mutant: Mutant) -> None:
    """Each function of the module runs the code of the mutated source, whoever holds it. There is no way back."""
    path = RUNTIME / mutant.file
    source = mutated(mutant, path.read_text())
    module = importlib.import_module(f"runtime.{mutant.file.removesuffix('.py').replace('/', '.')}")
    for code in _functions(compile(source, str(path), "exec")):
        if (function := _function(module, code.co_qualname)) is not None:
            function.__code__ = code


def _execute(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


def _functions(code: CodeType) -> Iterator[CodeType]:
    """Those of a module and of its classes; what is inside a function goes with it."""
    for constant in code.co_consts:
        if isinstance(constant, CodeType) and "<locals>" not in constant.co_qualname:
            yield constant
            yield from _functions(constant)


def _function(owner: Any, name: str) -> FunctionType | None:
    for part in name.split("."):
        owner = inspect.getattr_static(owner, part, None)
    found = getattr(owner, "fget", None) or getattr(owner, "__func__", None) or owner
    found = inspect.unwrap(found) if callable(found) else found
    return found if isinstance(found, FunctionType) else None
