"""manage.py doctor: is everything as it must be?"""

from argparse import ArgumentParser
from dataclasses import asdict
from typing import Any

from django.core.management.base import CommandError
from rich.console import RenderableType

from runtime import doctor, figures
from runtime.management.base import JOB_HELP, AetherisCommand, named_job
from runtime.management.screen import told_queue
from runtime.management.shapes import printable


class Command(AetherisCommand):
    help = (
        "Asks the database whether every invariant holds; exit code 0 and no finding if so. With --repair it restores "
        "lost reasons to move, which the sweeper does by itself where one runs."
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
        repairs = doctor.repair(dry_run=not yes) if repair else []
        findings = [
            {"code": found.code, "job": str(found.job_id), "message": found.message, "remedy": found.remedy}
            for found in doctor.examine(ids, deep=deep or None, newest=newest)
        ]
        unserved = [] if ids else [asdict(each) for each in figures.unserved()]
        return {"findings": findings, "repairs": repairs, "repaired": repair and yes, "unserved": unserved}

    def text(self, answer: dict[str, Any]) -> RenderableType:
        lines = [
            f"{found['code']}: job {found['job']}: {printable(found['message'])}. {found['remedy']}"
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
