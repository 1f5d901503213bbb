"""`python -m tests.model`: the models with larger numbers, beside those of each push; one line for all of them."""

from __future__ import annotations

import sys

from tests.model.cases import LONG, MODELS, MUTANTS, Case
from tests.model.spin import WHY_NOT, Checked, check, is_here

LONGEST = 7200.0


def main() -> int:
    if not is_here:
        print(WHY_NOT)
        return 2
    states, violations = 0, 0
    for case in (*MODELS, *LONG):
        checked = _told(case)
        states += checked.states
        violations += bool(checked.error)
    survivors = [case for case in MUTANTS if not check(case.model, case.defines, is_small=True).error]
    models, mutants = len(MODELS) + len(LONG), len(MUTANTS)
    print(
        f"model: {models} models, {states:,} states, {violations} violations;"
        f" {mutants - len(survivors)} of {mutants} mutants refuted"
    )
    return bool(violations or survivors)


def _told(case: Case) -> Checked:
    checked = check(case.model, case.defines, timeout=LONGEST)
    print(f"{case}: {checked.states:,} states in {checked.seconds:.0f} s {checked.error}", flush=True)
    if checked.error:
        print(checked.trail, flush=True)
    return checked


if __name__ == "__main__":
    sys.exit(main())
