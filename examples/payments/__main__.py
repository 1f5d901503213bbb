"""`python -m examples.payments --port 0 --file effects.jsonl`"""

import sys
from argparse import ArgumentParser
from pathlib import Path

from examples.local_service.run import run
from examples.payments.effects import EffectsUnreadable
from examples.payments.service import PaymentService


def main() -> int:
    parser = ArgumentParser(prog="examples.payments", description="A payment service with a memory.")
    parser.add_argument("--port", type=int, default=0, help="0: a free one, printed as JSON")
    parser.add_argument("--file", type=Path, default=Path(".local/effects.jsonl"), help="the effects")
    options = parser.parse_args()
    try:
        service = PaymentService(options.file)
    except EffectsUnreadable as error:
        print(error, file=sys.stderr)
        return 1
    return run(service, options.port)


if __name__ == "__main__":
    sys.exit(main())
