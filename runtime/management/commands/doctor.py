"""manage.py doctor: is everything as it must be?"""

from argparse import ArgumentParser
from dataclasses import asdict
from functools import partial
from typing import Any

from django.core.management.base import CommandError
from rich.console import RenderableType

from runtime import doctor, figures, repairs
from runtime.doctor import Finding
from runtime.management.base import JOB_HELP, AetherisCommand, named_job
from runtime.management.screen import told_queue
from runtime.management.shapes import printable


class Command(AetherisCommand):
    help = (
        "Asks the database whether every invariant holds; exit code 0 and no finding if so. With --repair it mends "
        "what can be mended safely, and does once what the sweeper does by itself where one runs."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("jobs", metavar="JOB", nargs="*", help=f"only these: {JOB_HELP}")
        parser.add_argument(
            "--deep",
            action="store_true",
            help="also compare all jobs with what their events say; reads every event",
        )
        parser.add_argument("--newest", type=int, metavar="N", help="with --deep: of the N newest jobs only")
        parser.add_argument("--repair", action="store_true", help="say what could be mended")
        parser.add_argument("--yes", action="store_true", help="and mend it")

    def answer(
        self,
        *,
        jobs: list[str],
        deep: bool,
        newest: int | None = None,
        repair: bool,
        yes: bool,
        **options: Any,
    ) -> dict[str, Any]:
        if newest is not None and newest < 1:
            raise CommandError(f"--newest {newest}: say how many jobs, at least one.")
        ids = [named_job(job).pk for job in jobs] or None
        ask = partial(doctor.examine, ids, deep=deep or None, newest=newest)
        findings = ask()
        done = self._repair(findings, everywhere=ids is None, dry_run=not yes) if repair else []
        left = ask() if done and yes else findings
        unserved = [] if ids else [asdict(each) for each in figures.unserved()]
        return {
            "findings": [_as_json(one) for one in left],
            "repairs": done,
            "repaired": repair and yes,
            "unserved": unserved,
        }

    def _repair(self, findings: list[Finding], *, everywhere: bool, dry_run: bool) -> list[str]:
        done = repairs.of_findings(findings, dry_run=dry_run)
        return done + (repairs.of_what_is_due(dry_run=dry_run) if everywhere else [])

    def text(self, answer: dict[str, Any]) -> RenderableType:
        lines = [
            f"{found['code']}: job {found['job']}: {printable(found['message'])}. {_way_out(found)}"
            for found in answer["findings"]
        ]
        lines += [f"repair: {line}" for line in answer["repairs"]]
        if answer["repairs"] and not answer["repaired"]:
            lines.append("Nothing was changed: `manage.py doctor --repair --yes` does it.")
        told = lines or ["Every invariant holds."]
        told += [
            f"But no living worker can run {each['steps']} ready steps of queue {told_queue(each)}."
            for each in answer["unserved"]
        ]
        return "\n".join(told)

    def complaint(self, answer: dict[str, Any]) -> str:
        count = len(answer["findings"])
        return f"{count} finding{'s' * (count > 1)}." if count else ""


def _as_json(found: Finding) -> dict[str, str]:
    told = asdict(found)
    return {"code": found.code, "job": str(told.pop("job_id")), **told}


def _way_out(found: dict[str, Any]) -> str:
    return f"{found['remedy']} With --repair {found['repair']}." if found["repair"] else found["remedy"]
