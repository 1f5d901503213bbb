"""`python -m examples.model --port 0`"""

import sys

from examples.local_service.run import arguments, run
from examples.model.service import ModelService


def main() -> int:
    options = arguments("examples.model", "A scripted chat completions model.").parse_args()
    return run(ModelService(), options.port, options.with_parent)


if __name__ == "__main__":
    sys.exit(main())
