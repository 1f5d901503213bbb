"""Recorded effects: clock, random, ids and reads. Recorded once, the same on every later attempt."""

from django.db import models

from runtime.models.base import TenantField
from runtime.models.job import Job
from runtime.models.payload import PayloadField
from runtime.models.step import Step


class Effect(models.Model):
    id = models.BigAutoField(primary_key=True)
    tenant = TenantField()
    job = models.ForeignKey(Job, models.PROTECT, related_name="effects", db_constraint=False, db_index=False)
    step = models.ForeignKey(
        Step, models.PROTECT, related_name="effects", db_constraint=False, db_index=False
    )
    name = models.CharField(max_length=200)
    ordinal = models.IntegerField()
    value = PayloadField(null=True)
    recorded_at = models.DateTimeField()

    class Meta:
        db_table = "aetheris_effect"
        ordering = ("id",)
        constraints = (
            models.UniqueConstraint(fields=("job", "step", "name", "ordinal"), name="aetheris_effect_key"),
        )

    def __str__(self) -> str:
        return f"{self.name}#{self.ordinal}"
