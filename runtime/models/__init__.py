"""The nouns, with their verbs."""

from runtime.models.bulk import BulkOperation
from runtime.models.effect import Effect
from runtime.models.event import Blob, Event, EventPart
from runtime.models.hold import Held, Hold
from runtime.models.job import Job
from runtime.models.ledger import LedgerEntry
from runtime.models.schedule import Schedule
from runtime.models.scope import Scope
from runtime.models.signal import Signal, Wait
from runtime.models.snapshot import Snapshot
from runtime.models.step import Edge, Step
from runtime.models.webhook import Webhook
from runtime.models.worker import Worker

__all__ = [
    "Blob",
    "BulkOperation",
    "Edge",
    "Effect",
    "Event",
    "EventPart",
    "Held",
    "Hold",
    "Job",
    "LedgerEntry",
    "Schedule",
    "Scope",
    "Signal",
    "Snapshot",
    "Step",
    "Wait",
    "Webhook",
    "Worker",
]
