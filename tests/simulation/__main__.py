"""`make simulate`: seeds in several processes, on a PostgreSQL of their own."""

from __future__ import annotations

import argparse
import math
import os
import sys

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")


def main() -> int:
    parser = argparse.ArgumentParser(prog="make simulate", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, help="how many")
    parser.add_argument("--from", type=int, default=1, dest="first", help="the first seed")
    parser.add_argument("--processes", type=int, default=(os.cpu_count() or 1) + 1, help="at once")
    parser.add_argument("--trace", action="store_true", help="print the schedule of each seed")
    parser.add_argument("--verbose", action="store_true", help="a line for each seed")
    options = parser.parse_args()

    import django

    django.setup()
    from tests import services
    from tests.simulation.running import Tally, many

    seeds, tally = range(options.first, options.first + options.seeds), Tally()
    processes = min(options.processes, options.seeds)
    with services.running(), many(seeds, processes, math.inf) as each:
        for found in each:
            tally.add(found)
            if options.verbose:
                told = f"{found.digest}, {found.steps} steps, {found.seconds:.0f} s"
                print(f"seed {found.seed}: {told}", file=sys.stderr)
            if options.trace:
                print("\n".join(found.trace))
            for violation in found.violations:
                print(f"seed {found.seed}: {violation}", file=sys.stderr)
    print(tally.line())
    return 1 if tally.violations else 0


if __name__ == "__main__":
    sys.exit(main())
