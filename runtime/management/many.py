"""A verb for many jobs, from the command line: first a look, then with `--yes` the act; `--continue` after a stop."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

from django.core.management.base import CommandError
from rich.console import Console, Group, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from runtime import bulk
from runtime.management.base import operator
from runtime.management.shapes import job_as_json, short_time, table
from runtime.models import BulkOperation
from runtime.states import JobStatus

FILTERS = ("agent", "queue", "status", "older_than", "ids_from")


def add_arguments(parser: ArgumentParser) -> None:
    chosen = parser.add_argument_group("instead of naming jobs, choose those that can take the verb")
    chosen.add_argument("--agent", help="of this agent")
    chosen.add_argument("--queue", help="submitted to this queue")
    chosen.add_argument(
        "--status", action="append", choices=JobStatus.values, help="in this status; may be repeated"
    )
    chosen.add_argument("--older-than", metavar="AGE", help="submitted so long ago or longer, such as 2h")
    chosen.add_argument(
        "--ids-from", metavar="FILE", help="with an id in each line of FILE; - for standard input"
    )
    chosen.add_argument("--tenant", default="default", help="of this tenant (default: %(default)s)")
    chosen.add_argument("--yes", action="store_true", help="do it; without, say only what would be done")
    chosen.add_argument("--continue", metavar="ID", dest="operation", help="go on with what was interrupted")


def is_asked(options: Mapping[str, Any]) -> bool:
    return bool(options["operation"]) or any(options[name] is not None for name in FILTERS)


def answer(verb: str, why: str, progress: bool, **options: Any) -> dict[str, Any]:
    if options["operation"]:
        operation = bulk.find(_uuid(options["operation"], "--continue"))
        if operation.verb != verb:
            raise CommandError(f"Operation {operation.pk} is a {operation.verb}, not a {verb}.")
        return _run(operation, progress)
    wanted = bulk.Filter(
        agent=options["agent"],
        queue=options["queue"],
        status=tuple(options["status"] or ()),
        older_than=_age(options["older_than"]),
        ids=_ids(options["ids_from"]),
        tenant=options["tenant"],
    )
    if options["yes"]:
        return _run(bulk.begin(verb, wanted, by=operator(), why=why), progress)
    seen = bulk.preview(verb, wanted)
    return {
        "verb": verb,
        "count": seen.count,
        "sample": [job_as_json(job) for job in seen.sample],
        "done": False,
    }


def text(answer: Mapping[str, Any]) -> RenderableType:
    if "operation" not in answer:
        rows = [
            (job["id"], job["agent"], job["status"], short_time(job["created_at"]))
            for job in answer["sample"]
        ]
        more = answer["count"] - len(rows)
        return Group(
            f"{answer['count']} jobs would be asked to {answer['verb']}. With --yes they are.",
            table(("job", "agent", "status", "submitted (UTC)"), rows) if rows else "",
            f"… and {more} more" if more else "",
        )
    told = f"{answer['verb']}: {answer['accepted']} jobs, {answer['refused']} refused. Operation {answer['operation']}"
    refusals = [(one["job"], one["reason"]) for one in answer["refusals"]]
    return Group(told, table(("refused", "because"), refusals)) if refusals else told


def complaint(answer: Mapping[str, Any]) -> str:
    return f"{answer['refused']} jobs refused." if answer.get("refused") else ""


def _run(operation: BulkOperation, progress: bool) -> dict[str, Any]:
    try:
        with _bar(operation, progress) as tell:
            bulk.go_on(operation, tell=tell)
    except KeyboardInterrupt:
        operation.refresh_from_db()
        asked = operation.done + operation.refused
        raise CommandError(
            f"Interrupted after {asked} of {operation.total} jobs. "
            f"`manage.py {operation.verb} --continue {operation.pk}` goes on."
        ) from None
    return {
        "operation": str(operation.pk), "verb": operation.verb, "count": operation.total,
        "accepted": operation.done, "refused": operation.refused, "refusals": operation.refusals, "done": True,
    }  # fmt: skip


@contextmanager
def _bar(operation: BulkOperation, shown: bool) -> Iterator[Callable[[], None]]:
    if not shown:
        yield lambda: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        done = operation.done + operation.refused
        task = bar.add_task(operation.verb, total=operation.total, completed=done)
        yield lambda: bar.advance(task)


def _age(text: str | None) -> str | float | None:
    try:
        return float(text) if text is not None else None
    except ValueError:
        return text


def _ids(file: str | None) -> tuple[UUID, ...] | None:
    if file is None:
        return None
    try:
        lines = sys.stdin.read() if file == "-" else Path(file).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"--ids-from: {file} cannot be read: {error}.") from error
    return tuple(_uuid(line, "--ids-from") for line in lines.split())


def _uuid(text: str, place: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise CommandError(f"{place}: {text[:60]!r} is no id.") from None
