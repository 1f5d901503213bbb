"""A history as the checker reads it: what is known of the run, and its jobs, one after another.

Jobs are read one at a time, so that a run of any length takes little memory.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tests.history.checker.violation import Violation

FORMAT = 1

Row = dict[str, Any]
Call = tuple[str, str, int]
"""Step, call and generation."""


class Unreadable(ValueError):
    """A line of the history that cannot be read."""


def moment(text: str) -> float:
    """Seconds since 1970 of a time in ISO 8601."""
    return datetime.fromisoformat(text).timestamp()


@dataclass
class Event:
    """An event, as its row has it and as its header says."""

    row: Row
    said: Row
    """The header; empty when it cannot be read."""

    @property
    def seq(self) -> int:
        return int(self.row["seq"])

    @property
    def type(self) -> str:
        return str(self.said["type"])

    @property
    def at(self) -> float:
        return moment(self.said["at"])

    @property
    def step(self) -> str | None:
        return self.said.get("step")

    @property
    def attempt(self) -> int | None:
        return self.said.get("attempt")

    @property
    def data(self) -> Row:
        return dict(self.said["data"])

    @property
    def call(self) -> Call | None:
        """Where the event is about a ledger entry."""
        if "entry" not in self.data or self.step is None:
            return None
        return self.step, self.data["call"], self.data["generation"]


@dataclass
class Job:
    """Everything of one job."""

    row: Row
    steps: dict[str, Row] = field(default_factory=dict)
    edges: list[Row] = field(default_factory=list)
    entries: dict[Call, Row] = field(default_factory=dict)
    waits: list[Row] = field(default_factory=list)
    signals: list[Row] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)

    @property
    def id(self) -> str:
        return str(self.row["id"])

    def broken(self, rule: str, sentence: str, event: Event | None = None) -> Violation:
        return Violation(rule, sentence, self.id, event.seq if event else None)

    def add(self, row: Row) -> None:
        match row["record"]:
            case "step":
                self.steps[row["key"]] = row
            case "edge":
                self.edges.append(row)
            case "entry":
                self.entries[row["step"], row["call"], row["generation"]] = row
            case "wait":
                self.waits.append(row)
            case "signal":
                self.signals.append(row)
            case "event":
                self.events.append(Event(row, _header(row["header"])))
            case other:
                raise Unreadable(f"unknown record {other!r}")


@dataclass
class Run:
    """What the harness knows of the run, and the world of what happened in it."""

    at_rest: bool = False
    truthful: bool = True
    """Whether tools, their `verify` and people say what is so."""
    knows: frozenset[str] = frozenset()
    """Of `effects`, `faults`: what the history holds completely."""
    exported_at: float = 0.0
    tools: dict[str, str] = field(default_factory=dict)
    """Of tools that act on the world: whether it counts `effects` or `requests`."""
    effects: dict[str, list[Row]] = field(default_factory=dict)
    faults: list[Row] = field(default_factory=list)
    submits: dict[str, Row] = field(default_factory=dict)
    signalled: dict[str, list[Row]] = field(default_factory=dict)
    seen: dict[str, list[Row]] = field(default_factory=dict)

    def add(self, row: Row) -> None:
        match row["record"]:
            case "run":
                if row["format"] != FORMAT:
                    raise Unreadable(f"format {row['format']}, not {FORMAT}")
                self.at_rest, self.truthful = row["at_rest"], row["truthful"]
                self.knows, self.exported_at = frozenset(row["knows"]), moment(row["exported_at"])
            case "tool":
                self.tools[row["name"]] = row["counts"]
            case "effect":
                self.effects.setdefault(row["key"], []).append(row)
            case "fault":
                self.faults.append(row)
            case "submit":
                self.submits[row["job"]] = row
            case "signalled":
                self.signalled.setdefault(row["job"], []).append(row)
            case "seen":
                self.seen.setdefault(row["job"], []).append(row)
            case other:
                raise Unreadable(f"record {other!r} before the first job")


class Reader:
    """The run is whole when the first job is read: it comes first."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines = enumerate(lines, start=1)
        self.run = Run()

    def jobs(self) -> Iterator[Job]:
        """Raises `Unreadable` with the number of the line."""
        job = None
        for number, line in self._lines:
            try:
                row = json.loads(line)
                if row["record"] == "job":
                    if job is not None:
                        yield job
                    job = Job(row)
                else:
                    (job or self.run).add(row)
            except (ValueError, KeyError, TypeError) as error:
                raise Unreadable(f"line {number}: {error!r}") from error
        if job is not None:
            yield job


def _header(text: str) -> Row:
    try:
        said = json.loads(text)
    except ValueError:
        return {}
    is_header = (
        isinstance(said, dict) and isinstance(said.get("data"), dict) and {"type", "at"} <= said.keys()
    )
    return said if is_header else {}
