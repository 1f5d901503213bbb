"""`python -m examples.model --port 0`"""

import sys
from argparse import ArgumentParser

from examples.local_service.run import run
from examples.model.service import ModelService


def main() -> int:
    parser = ArgumentParser(prog="examples.model", description="A scripted chat completions model.")
    parser.add_argument("--port", type=int, default=0, help="0: a free one, printed as JSON")
    return run(ModelService(), parser.parse_args().port)


if __name__ == "__main__":
    sys.exit(main())
