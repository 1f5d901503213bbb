"""What happened since the beginning of a test, judged: the database against the witness."""

from __future__ import annotations

from uuid import UUID

import tools
from examples.payments.service import PaymentService
from runtime.models import Job
from tests.history.export import Known, judged
from tests.processes.client import Client


class Judging:
    def __init__(self, client: Client, payments: PaymentService) -> None:
        self._client, self._payments = client, payments
        self._last: UUID | None = Job.objects.order_by("-pk").values_list("pk", flat=True).first()
        self._effects_before = len(payments.effects.find())

    def assert_good(self) -> None:
        jobs = Job.objects.filter(pk__gt=self._last) if self._last else Job.objects.all()
        effects = self._payments.effects.find()[self._effects_before :]
        known = Known(
            at_rest=True,
            tools={name: "effects" for name in tools.names() if name.startswith("witness.")},
            effects=[
                {"key": effect.key, "at": effect.at}
                for effect in effects
                if effect.key and effect.kind != "closed"
            ],
            submits=[job.pk for job in self._client.jobs],
        )
        violations = judged(known, jobs)
        assert not violations, "\n".join(map(str, violations))
