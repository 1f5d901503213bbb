"""python -m benchmarks: measure systems side by side, in alternating rounds."""

import argparse
import json
import shlex
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks import environments, report, servers
from benchmarks.catalog import CATALOG, System
from benchmarks.orders import CONCURRENCY, WORKERS
from benchmarks.report import Row
from benchmarks.rounds import measure
from benchmarks.workloads import FULL, QUICK, TINY, WORKLOADS

QUICK_SLICE = ("aetheris,psycopg,celery,dbos", "W1,W1t,W1b,W2,W7,W8", "quick")
SIZES = {"full": FULL, "quick": QUICK, "tiny": TINY}


def main(arguments: list[str]) -> int:
    options = _parser().parse_args(arguments)
    slice_ = QUICK_SLICE if options.quick else ("all", "all", "full")
    systems_named = options.systems or slice_[0]
    sizes = SIZES[options.size or slice_[2]]
    systems = installed([CATALOG[name] for name in _names(systems_named, CATALOG)])
    workloads = _names(options.workloads or slice_[1], WORKLOADS)
    about = {
        "command": shlex.join(["python", "-m", "benchmarks", *arguments]),
        "machine": report.machine(),
        "rounds": 0,
        "sizes": asdict(sizes),
        "workers": options.workers,
        "concurrency": CONCURRENCY,
        "systems": [_about(each) for each in systems],
    }
    rows: list[Row] = []
    with servers.running(options.instance) as running:
        about["postgres"] = running.settings()
        for number in range(options.rounds):
            # Each round begins with another system: none always has the machine as the first one left it.
            turn = number % len(systems)
            for system in systems[turn:] + systems[:turn]:
                rows += measure(system, running, workloads, sizes, number, options.workers)
            _write(options.out, about | {"rounds": number + 1}, rows)
    return 1 if any(row.missing.startswith("failed") for row in rows) else 0


def installed(systems: list[System]) -> list[System]:
    """Those that run here; the others are told of."""
    found = []
    for system in systems:
        try:
            environments.python_of(system)
        except environments.EnvironmentMissing as error:
            print(error, file=sys.stderr)
        else:
            found.append(system)
    if not found:
        raise SystemExit("No system can be measured here.")
    return found


def _about(system: System) -> dict[str, Any]:
    return {
        "name": system.name,
        "title": system.title,
        "versions": environments.versions(system),
        "settings": system.settings,
    }


def _write(out: Path, about: dict[str, Any], rows: list[Row]) -> None:
    """After each round: a run that is broken off has told what it measured."""
    summary = report.summary(rows)
    out.mkdir(parents=True, exist_ok=True)
    name = about["machine"]["date"].replace(":", "").removesuffix("+0000")
    text = report.markdown(summary, about, rows)
    (out / f"{name}.md").write_text(text)
    (out / f"{name}.json").write_text(
        json.dumps(about | {"summary": summary, "rows": [asdict(row) for row in rows]}, indent=1)
    )
    print(f"\n{text}\n{out / name}.md, {out / name}.json", flush=True)


def _names(given: str, known: Any) -> list[str]:
    names = list(known) if given == "all" else given.split(",")
    unknown = [name for name in names if name not in known]
    if unknown:
        raise SystemExit(f"Unknown: {', '.join(unknown)}. There are: {', '.join(known)}.")
    return [name for name in known if name in names]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help=f"the slice {' '.join(QUICK_SLICE)}")
    parser.add_argument("--systems", help=f"all, or some of {','.join(CATALOG)}")
    parser.add_argument("--workloads", help=f"all, or some of {','.join(WORKLOADS)}")
    parser.add_argument("--size", choices=SIZES, help="full, unless --quick says otherwise")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--workers", type=int, default=WORKERS, help="processes of each system")
    parser.add_argument("--out", type=Path, default=environments.ROOT.parent, help="where the results go")
    parser.add_argument("--instance", default="bench", help="name of the servers' directory under .local")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
