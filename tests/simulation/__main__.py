"""`make simulate`: seeds one after another on a PostgreSQL of their own."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")


def main() -> int:
    parser = argparse.ArgumentParser(prog="make simulate", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, help="how many")
    parser.add_argument("--from", type=int, default=1, dest="first", help="the first seed")
    parser.add_argument("--trace", action="store_true", help="print the schedule of each seed")
    parser.add_argument("--verbose", action="store_true", help="a line for each seed")
    options = parser.parse_args()

    import django

    django.setup()
    logging.disable(logging.CRITICAL)
    from tests import services
    from tests.simulation.running import Run, test_database

    with services.running(), test_database(), Run() as run:
        for seed in range(options.first, options.first + options.seeds):
            began = time.perf_counter()
            found = run.seed(seed)
            if options.verbose:
                took = f"{found.seconds:.0f} s in {time.perf_counter() - began:.2f} s"
                print(f"seed {seed}: {found.digest}, {found.steps} steps, {took}", file=sys.stderr)
            if options.trace:
                print("\n".join(found.trace))
            for violation in found.violations:
                print(f"seed {seed}: {violation}", file=sys.stderr)
        print(run.line())
    return 1 if run.violations else 0


if __name__ == "__main__":
    sys.exit(main())
