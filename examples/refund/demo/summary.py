"""The summary of a demo: a table for people, a file for machines."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.table import Table

from examples.refund.demo.judged import Judged


@dataclass
class Summary:
    """What the demo found. It held if every job did and `doctor` has nothing to say."""

    jobs: list[Judged] = field(default_factory=list)
    problems: list[Any] = field(default_factory=list)
    failure: str = ""
    started_seconds: float = 0.0
    seconds: float = 0.0

    @property
    def held(self) -> bool:
        return (
            bool(self.jobs) and not self.failure and not self.problems and all(job.held for job in self.jobs)
        )

    def write(self, file: Path, **more: Any) -> None:
        """As JSON, for whoever reads it later."""
        told = {
            "held": self.held,
            "failure": self.failure,
            "doctor": self.problems,
            "started_seconds": round(self.started_seconds, 2),
            "seconds": round(self.seconds, 2),
            "jobs": [job.to_json() for job in self.jobs],
        }
        file.write_text(json.dumps(told | more, indent=2, default=str) + "\n")

    def table(self) -> Table:
        """One row for each scene; a scene of many jobs is told in sums."""
        table = Table(title="What happened", title_justify="left")
        for heading in ("scene", "jobs"):
            table.add_column(heading)
        for heading in (
            "completed",
            "steps",
            "attempts",
            "sent",
            "refunds",
            "messages",
            "recovery",
            "as promised",
        ):
            table.add_column(heading, justify="right")
        for scene in dict.fromkeys(job.scene for job in self.jobs):
            table.add_row(*_row(scene, [job for job in self.jobs if job.scene == scene]))
        return table


def _row(scene: str, jobs: Sequence[Judged]) -> list[str]:
    recovery = [job.recovery_seconds for job in jobs if job.recovery_seconds is not None]
    held = sum(job.held for job in jobs)
    return [
        scene,
        jobs[0].job if len(jobs) == 1 else str(len(jobs)),
        f"{sum(job.status == 'completed' for job in jobs)}/{len(jobs)}",
        f"{sum(job.steps_completed for job in jobs)}/{sum(job.steps for job in jobs)}",
        str(sum(job.attempts for job in jobs)),
        str(sum(job.sent for job in jobs)),
        str(sum(job.refunds for job in jobs)),
        str(sum(job.messages for job in jobs)),
        f"{max(recovery):.1f} s" if recovery else "",
        "[green]yes[/]" if held == len(jobs) else f"[red]{held} of {len(jobs)}[/]",
    ]
