"""The validators that the settings name, in their order, and what they find together."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING

from django.utils.module_loading import import_string

from runtime.conf import settings
from runtime.contract.errors import ContractViolated, ValidatorUnusable
from runtime.contract.findings import Finding, StepValidator

if TYPE_CHECKING:
    from runtime.agents import StepFunction


def validators() -> list[StepValidator]:
    """Raises `ValidatorUnusable` for a path that leads to nothing that validates."""
    return [_load(path) for path in settings().step_validators]


def examine(step: StepFunction) -> Sequence[Finding]:
    """Everything that the validators find in a step. Looked at once in the life of a process."""
    return _examined(step, tuple(settings().step_validators))


def violation(step: StepFunction) -> ContractViolated | None:
    """What is wrong with a step, as the error to raise or to record; None when it keeps the contract."""
    broken = [finding for finding in examine(step) if not finding.warning]
    return ContractViolated(step.name, broken) if broken else None


@functools.cache
def _examined(step: StepFunction, paths: tuple[str, ...]) -> tuple[Finding, ...]:
    return tuple(finding for path in paths for finding in _validated(step, path))


def _validated(step: StepFunction, path: str) -> Sequence[Finding]:
    validator = _load(path)
    try:
        return validator.validate(step)
    except Exception as error:
        raise ValidatorUnusable(path, f"it raised {error!r} on step {step.name!r}") from error


@functools.cache
def _load(path: str) -> StepValidator:
    try:
        found = import_string(path)
        validator = found() if isinstance(found, type) or not hasattr(found, "validate") else found
    except (ImportError, TypeError) as error:
        raise ValidatorUnusable(path, str(error)) from error
    if not callable(getattr(validator, "validate", None)):
        raise ValidatorUnusable(path, f"{validator!r} has no `validate(step)`")
    return validator  # type: ignore[no-any-return]
