"""The summary of a demo: a table for people, a file for machines."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
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
        table = Table(
            title="What happened", title_justify="left", box=SIMPLE_HEAD, pad_edge=False, padding=(0, 0)
        )
        table.add_column("scene", no_wrap=True)
        for heading in ("status", "steps", "attempts", "sent", "refunds", "messages", "recovery"):
            table.add_column(heading, justify="right", no_wrap=True)
        for scene in dict.fromkeys(job.scene for job in self.jobs):
            table.add_row(*_row(scene, [job for job in self.jobs if job.scene == scene]))
        return table


def _row(scene: str, jobs: Sequence[Judged]) -> list[str]:
    recovery = [job.recovery_seconds for job in jobs if job.recovery_seconds is not None]
    mark = "[green]✓[/]" if all(job.held for job in jobs) else "[red]✗[/]"
    statuses = Counter(job.status for job in jobs)
    return [
        f"{mark} {scene}",
        ", ".join(statuses if len(statuses) == 1 else [f"{n} {status}" for status, n in statuses.items()]),
        f"{sum(job.steps_completed for job in jobs)}/{sum(job.steps for job in jobs)}",
        str(sum(job.attempts for job in jobs)),
        str(sum(job.sent for job in jobs)),
        str(sum(job.refunds for job in jobs)),
        str(sum(job.messages for job in jobs)),
        f"{max(recovery):.1f} s" if recovery else "",
    ]
