"""manage.py resolve: say what became of a call of which nobody knows whether it happened."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError
from rich.console import RenderableType

from runtime import resolution
from runtime.management.base import JSON_HELP, AetherisCommand, named_user, value_of
from runtime.management.shapes import entry_as_json, payload, short_time, table
from runtime.models import LedgerEntry


class Command(AetherisCommand):
    help = (
        "Settles a call in doubt: it happened (with this result), it is absent (and is made), or it is abandoned (and "
        "its step fails). Or a call whose compensation was refused: it is undone by hand, it is tried again, or it is "
        "abandoned (and stays as it is). Without ENTRY it lists the calls that wait for a person."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("entry", metavar="ENTRY", type=int, nargs="?", help="number of the ledger entry")
        parser.add_argument("verdict", nargs="?", choices=list(resolution.VERDICTS), help="what became of it")
        parser.add_argument("--user", help="who says so")
        parser.add_argument("--why", help="how that is known; goes into the trace")
        parser.add_argument(
            "--attempt", type=int, help="of the call that was looked at: refused if it was made again since"
        )
        parser.add_argument("--result", default="null", help=f"what the call answered, {JSON_HELP}")

    def answer(
        self, *, entry: int | None, verdict: str | None, user: str | None, why: str | None, result: str,
        attempt: int | None, **options: Any,
    ) -> dict[str, Any]:  # fmt: skip
        if entry is None:
            return {"in_doubt": [entry_as_json(each) for each in _entries().undecided()]}
        if verdict is None or not user or not why:
            raise CommandError(f"Give a verdict ({', '.join(resolution.VERDICTS)}), a --user, and --why.")
        found = _entries().filter(pk=entry).first()
        if found is None:
            raise CommandError(f"There is no ledger entry {entry}. `manage.py resolve` lists those in doubt.")
        person = named_user(user)
        resolution.resolve(
            found,
            verdict,  # type: ignore[arg-type]
            by=f"user:{person.pk}",
            why=why,
            result=value_of(result, "result"),
            attempt=attempt,
        )
        return {"entry": entry_as_json(found)}

    def text(self, answer: dict[str, Any]) -> RenderableType:
        if "entry" in answer:
            entry = answer["entry"]
            return (
                f"Call {entry['call']} of step {entry['step']}, job {entry['job']}, is {entry['state']} now."
            )
        if not answer["in_doubt"]:
            return "No call waits for a person."
        return table(
            ("entry", "job", "step", "tool", "state", "attempt", "called (UTC)", "arguments"),
            [
                (each["entry"], each["job"], each["step"], each["tool"], each["state"], each["attempt"],
                 short_time(each["started_at"]), payload(each["arguments"], 80))
                for each in answer["in_doubt"]
            ],
        )  # fmt: skip


def _entries() -> Any:
    return LedgerEntry.objects.select_related("step").order_by("id")
