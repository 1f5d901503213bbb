"""A history that can be changed and, where one likes, sealed again, as somebody would who has the database."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from copy import deepcopy
from typing import Any

from tests.history.checker import digests

Record = dict[str, Any]


class Tampered:
    """The records of a history. Jobs are called by the `of` in their input."""

    def __init__(self, records: Iterable[Record]) -> None:
        self.run: list[Record] = []
        self.jobs: dict[str, TamperedJob] = {}
        block = self.run
        for record in deepcopy(list(records)):
            if record["record"] == "job":
                block = []
                self.jobs[record["id"]] = TamperedJob(record, block)
            else:
                block.append(record)
        self.jobs = {job.name: job for job in self.jobs.values()}

    def __getitem__(self, name: str) -> TamperedJob:
        return self.jobs[name]

    def known(self, record: str, **fields: Any) -> Record:
        """The first record of the run of this kind with these fields."""
        return next(one for one in self.run if one["record"] == record and fields.items() <= one.items())

    def effects_of(self, job: str, step: str) -> list[Record]:
        key = self[job].row_of("entry", step=step)["key"]
        return [one for one in self.run if one["record"] == "effect" and one["key"] == key]

    def lines(self, *, sealed: bool) -> Iterator[str]:
        yield from map(json.dumps, self.run)
        for job in self.jobs.values():
            if sealed:
                job.seal()
            yield from map(json.dumps, [job.row, *job.records])


class TamperedJob:
    def __init__(self, row: Record, records: list[Record]) -> None:
        self.row, self.records = row, records

    @property
    def name(self) -> str:
        [given] = [part["value"] for part in self.events[0]["parts"] if part["name"] == "input"]
        return str(given["of"]) if isinstance(given, dict) else f"child {given}"

    @property
    def events(self) -> list[Record]:
        return [record for record in self.records if record["record"] == "event"]

    def event(self, type: str, step: str | None = None, *, number: int = 0) -> Record:
        return [one for one in self.events if one["type"] == type and step in (None, one["step"])][number]

    def row_of(self, record: str, **fields: Any) -> Record:
        return next(one for one in self.records if one["record"] == record and fields.items() <= one.items())

    def say(self, event: Record, **facts: Any) -> None:
        """Change what the header of an event says."""
        said = json.loads(event["header"])
        event["header"] = digests.canonical({**said, **facts})

    def data(self, event: Record) -> Record:
        return dict(json.loads(event["header"])["data"])

    def remove(self, *records: Record) -> None:
        self.records[:] = [one for one in self.records if not any(one is each for each in records)]

    def put(self, event: Record, *, before: Record | None = None, after: Record | None = None) -> None:
        """Move an event, or put a new one, beside another, whose time it takes."""
        beside = before or after
        assert beside is not None
        self.remove(event)
        place = next(number for number, one in enumerate(self.records) if one is beside)
        self.records.insert(place + (after is not None), event)
        self.say(event, at=json.loads(beside["header"])["at"])

    def copy(self, event: Record, *, after: Record | None = None) -> Record:
        """The same event once more."""
        again = deepcopy(event)
        self.put(again, after=after or event)
        return again

    def cut(self, event: Record) -> None:
        """Forget what came after an event."""
        events = self.events
        place = next(number for number, one in enumerate(events) if one is event)
        self.remove(*events[place + 1 :])

    def seal(self) -> None:
        """Number and link the events anew, and say the same in the rows."""
        head = "0" * 64
        renamed: dict[str, str] = {}
        for seq, event in enumerate(self.events, start=1):
            said = {**json.loads(event["header"]), "seq": seq, "prev": head}
            if "causes" in said:
                said["causes"] = sorted(renamed.get(cause, cause) for cause in said["causes"])
            said["sd"] = sorted(
                digests.commitment(part["salt"], part["name"], part["value"]) for part in event["parts"]
            )
            event["header"] = digests.canonical(said)
            head = digests.digest(event["header"].encode())
            renamed[event["digest"]] = head
            event |= {name: said.get(name) for name in ("seq", "type", "step", "attempt")} | {"digest": head}
        for signal in self.records:
            if signal["record"] == "signal":
                signal["digest"] = renamed.get(signal["digest"], signal["digest"])
        self.row |= {"seq": len(self.events), "head": head}
