"""The step contract: what a step may do, who looks whether it does, and a harness for tests. docs/step-contract.md."""

from runtime.contract.errors import ContractViolated, ReplayDiverged, ToolNotGiven, ValidatorUnusable
from runtime.contract.findings import Finding, StepValidator
from runtime.contract.harness import assert_replays
from runtime.contract.registry import examine, validators, violation

__all__ = [
    "ContractViolated",
    "Finding",
    "ReplayDiverged",
    "StepValidator",
    "ToolNotGiven",
    "ValidatorUnusable",
    "assert_replays",
    "examine",
    "validators",
    "violation",
]
