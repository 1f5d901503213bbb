"""What keeps the promises, and how each of it is switched off, one at a time, to see that tests notice.

Only here, and only in databases and processes of tests: SQL is edited on its way there, Python is patched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from django.db import connection

from runtime import recovery
from runtime.incarnation import Incarnation
from runtime.invocations import Invocation
from runtime.sql import statements

Edit = Callable[[str], str]


def replacing(old: str, new: str) -> Edit:
    """An edit of SQL. What is to be replaced has to be there, as often as it is."""

    def edit(sql: str) -> str:
        return sql.replace(old, new)

    edit.__name__ = old
    return edit


@contextmanager
def edited(*edits: Edit) -> Iterator[None]:
    """The database of this connection has a gate that was edited so."""
    real = [sql for name in ("turn.sql", "compensation.sql", "take.sql") for sql in statements(name)]
    changed = list(real)
    for edit in edits:
        before, changed = changed, [edit(sql) for sql in changed]
        assert before != changed, f"there is nothing to replace in the gate: {edit.__name__}"
    load(sql for sql, was in zip(changed, real, strict=True) if sql != was)
    try:
        yield
    finally:
        load(was for sql, was in zip(changed, real, strict=True) if sql != was)


def load(sql: Iterator[str] | list[str]) -> None:
    with connection.cursor() as cursor:
        for statement in sql:
            cursor.execute(statement)


@dataclass(frozen=True)
class Guard:
    name: str
    off: str
    """What happens without it."""
    edits: tuple[Edit, ...] = ()
    patch: Callable[[pytest.MonkeyPatch], Any] = lambda patch: None


def _send_again(invocation: Invocation, recorded: dict[str, Any]) -> Any:
    return invocation._send()


GUARDS = (
    Guard(
        "fence",
        "any attempt of a running step may decide",
        (
            replacing("AND (op ->> 'attempt' IS NULL OR s.attempt = (op ->> 'attempt')::int)", ""),
            replacing("AND s.attempt = (op ->> 'attempt')::int;", ";"),
            replacing("AND s.attempt = (op ->> 'new_attempt')::int;", ";"),
        ),
    ),
    Guard(
        "ledger",
        "what is recorded of a call does not keep it from being made again",
        patch=lambda patch: patch.setattr(Invocation, "_resume", _send_again),
    ),
    Guard(
        "job lock",
        "two turns of one job may be under way at once",
        (replacing("WHERE id = v_job FOR NO KEY UPDATE;", "WHERE id = v_job;"),),
    ),
    Guard(
        "inbox",
        "a step that begins to wait does not look at what has come before",
        (replacing("bind := bind || (op -> 'wait' ->> 'name');", "NULL;"),),
    ),
    Guard(
        "sweep",
        "nobody restores what was lost",
        patch=lambda patch: patch.setattr(recovery.Sweeper, "sweep", lambda sweeper: recovery.Swept()),
    ),
    Guard(
        "drain",
        "a process that ends hands nothing back",
        patch=lambda patch: patch.setattr(Incarnation, "hand_back", lambda worker, why: None),
    ),
)
BY_NAME = {guard.name: guard for guard in GUARDS}
