"""`python -m tests.history FILE`: judges a history; ends with 1 when it breaks a rule."""

import sys
from collections import Counter

from tests.history.checker import judge


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        print("python -m tests.history FILE", file=sys.stderr)
        return 2
    with open(arguments[0], encoding="utf-8") as lines:
        violations = judge(lines)
    for violation in violations:
        print(violation)
    told = ", ".join(f"{count} {rule}" for rule, count in Counter(v.rule for v in violations).most_common())
    print(f"{len(violations)} violations{': ' + told if told else ''}", file=sys.stderr)
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
