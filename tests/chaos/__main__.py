"""python -m tests.chaos --jobs 2000 --seed 7: process chaos with a seed, one line at the end. Exits 1 on violations."""

import argparse
import os
import sys
from pathlib import Path

import django

from runtime.stack.places import Places


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="make chaos ARGS=…", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=400)
    parser.add_argument("--faults", type=int, help="a quarter of the jobs unless given")
    options = parser.parse_args(arguments)
    places = Places(instance="chaos")
    os.environ |= {"DATABASE_URL": places.database_url, "REDIS_URL": places.redis_url}
    os.environ |= {"AETHERIS_APPS": "tests.processes.outside", "AETHERIS_LOG_LEVEL": "WARNING"}
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "aetheris_project.settings")
    django.setup()

    from tests.chaos.faults import kinds  # these need Django
    from tests.chaos.ground import ground
    from tests.chaos.run import Chaos

    world = places.local.parent / "chaos-effects.jsonl"
    world.unlink(missing_ok=True)
    count = options.jobs // 4 if options.faults is None else options.faults
    with ground(places, Path(world)) as found:
        history = places.local / "history.jsonl"
        verdict = Chaos(found, options.seed, options.jobs, kinds(options.seed), count, history).run()
    for violation in verdict.violations:
        print(violation)
    print(verdict)
    return int(bool(verdict.violations))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
