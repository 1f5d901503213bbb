"""`python -m examples.payments --port 0 --file effects.jsonl`"""

import sys
from pathlib import Path

from examples.local_service.run import arguments, run
from examples.payments.effects import EffectsUnreadable
from examples.payments.service import PaymentService


def main() -> int:
    parser = arguments("examples.payments", "A payment service with a memory.")
    parser.add_argument(
        "--file", type=Path, default=Path(".local/effects.jsonl"), help="where effects are kept"
    )
    options = parser.parse_args()
    try:
        service = PaymentService(options.file)
    except EffectsUnreadable as error:
        print(error, file=sys.stderr)
        return 1
    return run(service, options.port, options.with_parent)


if __name__ == "__main__":
    sys.exit(main())
