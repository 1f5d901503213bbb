"""One system in one round: its processes start on an empty database, its workloads run, its processes end."""

import sys

from benchmarks.catalog import System
from benchmarks.fleet import ClientFailed, Fleet
from benchmarks.report import Row
from benchmarks.servers import Servers
from benchmarks.workloads import WORKLOADS, NotOnce, NotRecovered, Sizes, warm_up
from runtime.stack.errors import StackError


def measure(
    system: System, running: Servers, workloads: list[str], sizes: Sizes, number: int, workers: int
) -> list[Row]:
    """One system in one round. A failed workload leaves the others their turn, on a new fleet."""
    rows: list[Row] = []
    left = list(workloads)
    while left:
        try:
            with Fleet(system, running, workers) as fleet:
                warm_up(fleet)
                while left:
                    fleet.look_after()
                    rows.append(_one(fleet, left.pop(0), sizes, number))
                    _say(rows[-1])
                    if rows[-1].missing.startswith("failed"):
                        break
        except (StackError, ClientFailed, NotOnce) as error:
            missing = f"failed: {str(error).splitlines()[-1].strip()}"
            rows += [Row(number, system.name, workload, {}, missing) for workload in left]
            print(f"{system.title}: {error}", file=sys.stderr, flush=True)
            return rows
    return rows


def _one(fleet: Fleet, workload: str, sizes: Sizes, number: int) -> Row:
    system = fleet.system
    if workload in system.lacks:
        return Row(number, system.name, workload, {}, system.lacks[workload])
    try:
        return Row(number, system.name, workload, WORKLOADS[workload](fleet, sizes))
    except NotRecovered as error:
        return Row(number, system.name, workload, {}, str(error))
    except (ClientFailed, NotOnce) as error:
        return Row(number, system.name, workload, {}, f"failed: {error}")


def _say(row: Row) -> None:
    figures = "  ".join(f"{name}={value:.3g}" for name, value in row.figures.items())
    print(f"{row.round + 1}  {row.system:<10} {row.workload:<4} {figures or row.missing}", flush=True)
