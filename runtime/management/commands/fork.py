"""manage.py fork: a new job from a step of another on."""

from argparse import ArgumentParser
from typing import Any

from rich.console import RenderableType

from runtime.exceptions import InputInvalid
from runtime.management import forking
from runtime.management.base import JSON_HELP, AetherisCommand, add_job, named_job, value_of


class Command(AetherisCommand):
    help = (
        "Starts a new job from a step of another on, with the results before it. Says first which effects outside may "
        "happen a second time; with --yes it begins."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_job(parser)
        parser.add_argument("step", metavar="STEP", help="the first step that runs anew")
        parser.add_argument("--input", metavar="JSON", help=f"another input of the job, {JSON_HELP}")
        parser.add_argument(
            "--step-input",
            metavar="JSON",
            help=f"other inputs of the step, those that differ, {JSON_HELP}",
        )
        parser.add_argument("--why", default="", help="a word for those who read the trace")
        parser.add_argument("--yes", action="store_true", help="do it; without, say only what would be done")

    def answer(
        self,
        *,
        job: str,
        step: str,
        input: str | None,
        step_input: str | None,
        why: str,
        yes: bool,
        **options: Any,
    ) -> dict[str, Any]:
        changes: dict[str, Any] = {}
        if input is not None:
            changes["input"] = value_of(input, "input")
        if step_input is not None:
            changes["step_input"] = value_of(step_input, "step_input")
            if not isinstance(changes["step_input"], dict):
                raise InputInvalid("step_input", 'must be an object, such as {"amount": 5}')
        return forking.answer(named_job(job), step, yes=yes, why=why, **changes)

    def text(self, answer: dict[str, Any]) -> RenderableType:
        return forking.text(answer)
