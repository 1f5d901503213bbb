"""Letting an agent or a queue rest, and go on: what runs finishes, and nothing of it is claimed meanwhile.

Jobs are still submitted, waits still end, timers still fire: the steps that this makes ready stay ready.
"""

from __future__ import annotations

import structlog
from django.db import IntegrityError, transaction

from runtime import agents, dispatch, queues
from runtime.clock import DatabaseNow
from runtime.exceptions import AgentNotFound, NotHeld
from runtime.models import Held, Hold, Job, Step
from runtime.models.hold import HoldKind
from runtime.models.step import StepQuerySet
from runtime.planning import AD_HOC
from runtime.values import check

logger = structlog.get_logger(__name__)

AT_ONCE = 1000
"""Steps that are told of when a rest ends; the sweeper tells of the others."""


def begin(kind: HoldKind, name: str, *, tenant: str = "default", by: str = "", why: str = "") -> Hold:
    """Let it rest. One that rests already is answered as it is. Raises `AgentNotFound` or `InputInvalid`."""
    check(why, "why")
    _check_known(kind, name)
    active = Hold.objects.active().filter(tenant=tenant, kind=kind, name=name)
    if found := active.first():
        return found
    try:
        with transaction.atomic():
            Held.objects.create(tenant=tenant, kind=kind, name=name)
            Hold.objects.create(tenant=tenant, kind=kind, name=name, by=by, why=why, held_at=DatabaseNow())
    except IntegrityError:
        logger.debug("held_already", kind=kind.value, name=name)  # somebody else was first
    else:
        logger.info("held", kind=kind.value, name=name, tenant=tenant, by=by)
    return active.get()


def end(kind: HoldKind, name: str, *, tenant: str = "default", by: str = "", why: str = "") -> Hold:
    """Let it go on. Raises `NotHeld`."""
    check(why, "why")
    held = Hold.objects.active().filter(tenant=tenant, kind=kind, name=name).first()
    if held is None:
        raise NotHeld(kind.value, name)
    with transaction.atomic():
        ended = Hold.objects.filter(pk=held.pk, released_at__isnull=True).update(
            released_at=DatabaseNow(), released_by=by, released_why=why
        )
        if ended:  # and not somebody else before, after whom it may rest once more
            Held.objects.filter(tenant=tenant, kind=kind, name=name).delete()
    held.refresh_from_db()
    logger.info("hold_ended", kind=kind.value, name=name, tenant=tenant, by=by)
    dispatch.hint_after_commit(_let_go(held).addresses(AT_ONCE))
    return held


def kept_back(held: Hold) -> StepQuerySet:
    """The steps that would be claimed if it were not for this hold, or for another of the same."""
    own = {"job__agent": held.name} if held.kind == HoldKind.AGENT else {"queue": held.name}
    return Step.objects.due().filter(tenant=held.tenant, **own)


def _let_go(held: Hold) -> StepQuerySet:
    return kept_back(held).ready().order_by("-priority", "ready_at")


def _check_known(kind: HoldKind, name: str) -> None:
    """A name with a slip in it would rest nothing, and nobody would notice."""
    if kind == HoldKind.QUEUE:
        queues.check(name, "queue")
    elif name not in {AD_HOC, *agents.registered()} and not Job.objects.filter(agent=name).exists():
        raise AgentNotFound(name, sorted(agents.registered()))
