"""What a node kind is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar
from uuid import UUID

from runtime.graph import Problem
from runtime.outcomes import Outcome

if TYPE_CHECKING:
    from runtime.context import Context
    from runtime.intents import Intent
    from runtime.models import Step


class Node(ABC):
    """A kind of node. `run` may be called again after a crash; what it does outside goes through the context."""

    kind: ClassVar[str]
    outcomes: ClassVar[Collection[str]] = frozenset()
    """The branches of `Completed` that edges may name in `when`, beside `failed`."""
    literals: ClassVar[Collection[str]] = frozenset()
    """Keys of the config in which `${…}` means itself and brings no edge along."""
    settles_with_record: ClassVar[bool] = False
    """Whether a call's outcome is written with the step's record: for kinds that do one call and nothing else."""

    is_internal: ClassVar[bool] = False
    """Whether only the runtime makes steps of this kind, and no graph."""

    def validate(self, config: Mapping[str, Any]) -> Iterable[Problem]:
        """The faults of one node's config, beyond those that its shape shows."""
        return ()

    @abstractmethod
    def run(self, step: Step, context: Context) -> Outcome: ...

    def intent(
        self,
        tenant: str,
        job_id: UUID,
        step_id: int,
        step_key: str,
        config: Mapping[str, Any],
        names: Mapping[str, Any],
    ) -> Intent | None:
        """The call that a step of this kind will begin with, where that is known before it is claimed."""
        return None

    @property
    def has_intents(self) -> bool:
        """Whether `intent` is worth asking, which takes the results that the step refers to."""
        return type(self).intent is not Node.intent
