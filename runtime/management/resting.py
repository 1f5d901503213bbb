"""What `pause` and `resume` do beside jobs: a whole agent or queue rests, or goes on."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError
from rich.console import RenderableType

from runtime import holds
from runtime.management.base import operator
from runtime.management.operating import OperatingCommand
from runtime.management.shapes import moment
from runtime.models import Hold
from runtime.models.hold import HoldKind


class RestingCommand(OperatingCommand):
    """`--agent X` or `--queue X` alone is the agent or queue itself; with `--matching` it is a filter of jobs."""

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--matching",
            action="store_true",
            help="--agent and --queue choose jobs, one by one; without, they are the agent or queue itself",
        )

    def answer(self, *, jobs: list[str], why: str, **options: Any) -> dict[str, Any]:
        kinds = [kind for kind in HoldKind if options[kind.value]]
        if options["matching"] or not kinds:
            return super().answer(jobs=jobs, why=why, **options)
        if jobs or len(kinds) > 1 or any(options[name] for name in ("status", "older_than", "ids_from")):
            raise CommandError(
                f"To {self.verb} an agent or a queue give its name alone. "
                f"To {self.verb} jobs one by one that a filter chooses add --matching."
            )
        act = holds.begin if self.verb == "pause" else holds.end
        name = options[kinds[0].value]
        return hold_as_json(act(kinds[0], name, tenant=options["tenant"], by=operator(), why=why))

    def text(self, answer: dict[str, Any]) -> RenderableType:
        if "held" not in answer:
            return super().text(answer)
        rests = "rests: nothing of it is claimed" if answer["held"] else "goes on"
        return f"The {answer['kind']} {answer['name']} {rests}."


def hold_as_json(held: Hold) -> dict[str, Any]:
    return {
        "kind": str(held.kind), "name": held.name, "tenant": held.tenant, "held": held.released_at is None,
        "by": held.by, "why": held.why, "held_at": moment(held.held_at), "released_by": held.released_by,
        "released_why": held.released_why, "released_at": moment(held.released_at),
    }  # fmt: skip
