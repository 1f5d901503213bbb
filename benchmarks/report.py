"""What came out: medians over rounds, ratios, rounds won; as JSON and as Markdown."""

import os
import platform
import subprocess
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.workloads import HEADLINES, Figures
from runtime.stack.places import CHECKOUT

OURS, FLOOR = "aetheris", "psycopg"
GROUPS = ("worker", "database", "redis", "server", "client")


@dataclass(frozen=True)
class Row:
    """One workload of one system in one round; `missing` says why there are no figures."""

    round: int
    system: str
    workload: str
    figures: Figures
    missing: str = ""


def machine() -> dict[str, Any]:
    """What the figures were measured on; the load tells how much others had to do there."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30),
        "system": platform.platform(),
        "python": platform.python_version(),
        "load_before": round(os.getloadavg()[0], 1),
        "revision": _revision(),
    }


def summary(rows: Iterable[Row]) -> dict[str, dict[str, dict[str, Any]]]:
    """workload → system → figure → {median, min, max}, and for the headline the ratios and the rounds won."""
    kept = list(rows)
    found: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
    for workload, system in dict.fromkeys((row.workload, row.system) for row in kept):
        measured = [row for row in kept if (row.workload, row.system) == (workload, system) and row.figures]
        names = dict.fromkeys(name for row in measured for name in row.figures)
        found[workload][system] = {
            name: _spread([row.figures[name] for row in measured if name in row.figures]) for name in names
        }
    for workload, systems in found.items():
        _compare(workload, systems, [row for row in kept if row.workload == workload])
    return {workload: found[workload] for workload in HEADLINES if workload in found}


def markdown(summary: dict[str, dict[str, dict[str, Any]]], about: dict[str, Any], rows: list[Row]) -> str:
    lines = [
        f"Measured {about['machine']['date']} with `{about['command']}` on {about['machine']['processor']},"
        f" {about['machine']['cores']} cores, {about['machine']['memory_gb']} GB,"
        f" load before {about['machine']['load_before']}; revision {about['machine']['revision']};"
        f" medians of {about['rounds']} rounds.",
        "",
    ]
    lines += _overview(summary, rows)
    for workload, systems in summary.items():
        lines += _table(workload, systems, rows)
    lines += ["PostgreSQL: " + ", ".join(f"{k}={v}" for k, v in about["postgres"].items()) + ".", ""]
    for system in about["systems"]:
        packages = ", ".join(f"{name} {number}" for name, number in system["versions"].items())
        lines.append(f"- **{system['title']}** ({packages}): {system['settings']}")
    return "\n".join(lines) + "\n"


def headline(workload: str, figures: Iterable[str]) -> str:
    """The figure that stands for a workload."""
    name = HEADLINES[workload][0]
    if name:
        return name
    return max(
        (each for each in figures if each.startswith("ms_per_step_")), key=lambda n: int(n.split("_")[-1])
    )


def _overview(summary: dict[str, dict[str, dict[str, Any]]], rows: list[Row]) -> list[str]:
    """The figure of each workload, and what a step of the first one cost: a line for each system."""
    spent = ("cpu_ms", "commits", "wal_bytes")
    first = next(iter(summary))
    titles = [f"{workload} {HEADLINES[workload][1]}" for workload in summary]
    lines = [
        f"| System | {' | '.join(titles)} | CPU ms per step | commits per step | log bytes per step |",
        "|---|" + "---|" * (len(titles) + len(spent)),
    ]
    for system in dict.fromkeys(row.system for row in rows):
        cells = []
        for workload, systems in summary.items():
            figures = systems.get(system)
            cells.append(_number(figures[headline(workload, figures)]["median"]) if figures else "–")
        costs = summary[first].get(system, {})
        cells += [_number(costs[name]["median"]) if name in costs else "–" for name in spent]
        lines.append(f"| {system} | " + " | ".join(cells) + " |")
    return [*lines, ""]


def _table(workload: str, systems: dict[str, dict[str, Any]], rows: list[Row]) -> list[str]:
    unit, more = HEADLINES[workload][1:]
    columns = _columns(systems)
    lines = [
        f"### {workload}, {unit} ({'more' if more else 'less'} is better)",
        "",
        "| System | Median | Min – max | × ours | × psycopg | Rounds won | " + " | ".join(columns) + " |",
        "|---|---|---|---|---|---|" + "---|" * len(columns),
    ]
    for system, figures in systems.items():
        if not figures:
            why = next((row.missing for row in rows if row.system == system and row.workload == workload), "")
            lines.append(f"| {system} | – {why} |" + " |" * (len(columns) + 4))
            continue
        main = figures[headline(workload, figures)]
        cells = [
            _number(main["median"]),
            f"{_number(main['min'])} – {_number(main['max'])}",
            _number(main.get("to_ours")),
            _number(main.get("to_floor")),
            str(main.get("won", "")),
            *(_number(figures[name]["median"]) if name in figures else "" for name in columns),
        ]
        lines.append(f"| {system} | " + " | ".join(cells) + " |")
    return [*lines, ""]


def _columns(systems: dict[str, dict[str, Any]]) -> list[str]:
    """The other figures of a workload, in the order in which they were taken."""
    names = dict.fromkeys(name for figures in systems.values() for name in figures)
    main = {headline_of for headline_of, _, _ in HEADLINES.values()}
    return [name for name in names if name not in main]


def _compare(workload: str, systems: dict[str, dict[str, Any]], rows: list[Row]) -> None:
    more = HEADLINES[workload][2]
    mains = {name: figures[headline(workload, figures)] for name, figures in systems.items() if figures}
    for main in mains.values():
        for reference, key in ((OURS, "to_ours"), (FLOOR, "to_floor")):
            if reference in mains and mains[reference]["median"]:
                main[key] = main["median"] / mains[reference]["median"]
        main["won"] = 0
    for number in {row.round for row in rows}:
        # The floor is what is possible; it does not compete.
        run = {
            row.system: row.figures[headline(workload, row.figures)]
            for row in rows
            if row.round == number and row.figures and row.system != FLOOR
        }
        if run:
            best = (max if more else min)(run, key=run.__getitem__)
            mains[best]["won"] += 1


def _spread(values: list[float]) -> dict[str, float]:
    return {"median": median(values), "min": min(values), "max": max(values)}


def _number(value: float | None) -> str:
    if value is None:
        return ""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value else "0"


def _revision() -> str:
    """Which state of this checkout was measured; empty outside a repository."""
    asked = ["git", "-C", str(CHECKOUT), "describe", "--always", "--dirty"]
    try:
        return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "unknown")
