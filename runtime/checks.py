"""Django system checks: what breaks the step contract or cannot work is told before any step runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.core import checks

import tools
from runtime import agents, compensations, contract, prices
from runtime.conf import settings
from runtime.contract import Finding, ValidatorUnusable

NUMBERS = {
    "clock": 1,
    "random": 2,
    "network": 3,
    "process": 4,
    "sleep": 5,
    "concurrency": 6,
    "environment": 7,
    "state": 8,
    "database": 9,
    "suppression": 10,
    "unreadable": 11,
}
"""The code of a finding in the check's id: `aetheris.E001` is the clock. Ids are never used again."""
OTHER = 99
"""Findings of validators that the project brings itself."""
UNUSABLE = "aetheris.E090"
PRICES = "aetheris.E091"
COMPENSATION = "aetheris.E092"


@checks.register("aetheris")
def check_steps(app_configs: Sequence[AppConfig] | None = None, **kwargs: Any) -> list[checks.CheckMessage]:
    """Every finding of the validators in the registered steps."""
    try:
        found = {finding: None for step in agents.functions().values() for finding in contract.examine(step)}
    except ValidatorUnusable as error:
        return [checks.Error(error.message, id=UNUSABLE)]
    return [_message(finding) for finding in found]


@checks.register("aetheris")
def check_compensations(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[checks.CheckMessage]:
    """A compensation that cannot be done would be found out when it is needed."""
    return [
        checks.Error(f"Tool {tool.name!r}: compensate.{problem}", obj=tool.where, id=COMPENSATION)
        for tool in tools.registered().values()
        for problem in compensations.problems(tool.compensate.as_json() if tool.compensate else None)
    ]


@checks.register("aetheris")
def check_prices(app_configs: Sequence[AppConfig] | None = None, **kwargs: Any) -> list[checks.CheckMessage]:
    """A price that cannot be read would be found out with the first answer of its model."""
    faults = prices.faults(settings().model_prices or {})
    return [checks.Error(f"AETHERIS['MODEL_PRICES']: {fault}", id=PRICES) for fault in faults]


def _message(finding: Finding) -> checks.CheckMessage:
    kind, letter = (checks.Warning, "W") if finding.warning else (checks.Error, "E")
    number = NUMBERS.get(finding.code, OTHER)
    return kind(
        f"[{finding.code}] {finding.reason}.",
        hint=f"Instead: {finding.replacement}.",
        obj=finding.place,
        id=f"aetheris.{letter}{number:03}",
    )
