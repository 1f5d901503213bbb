"""Scopes: copies of a sub-graph that a step expanded into, one for each item of a `map`, one for a `plan`."""

from __future__ import annotations

from django.db import models

from runtime.models.base import TenantField
from runtime.models.job import Job


class Scope(models.Model):
    """One copy. Its steps share it; a failure in it ends the scope, and its owner decides what that means."""

    id = models.BigAutoField(primary_key=True)
    tenant = TenantField()
    job = models.ForeignKey(Job, models.PROTECT, related_name="scopes", db_constraint=False, db_index=False)
    owner = models.ForeignKey(
        "runtime.Step", models.PROTECT, related_name="scopes", db_constraint=False, db_index=False
    )
    index = models.IntegerField()
    prefix = models.CharField(max_length=255)
    """What the keys of its steps begin with, such as `each[3].`"""
    bindings = models.JSONField(default=dict)
    """Names that its expressions may use beside node ids, such as `item` and `index`."""
    result_template = models.JSONField(default=dict)
    unfinished = models.IntegerField()
    status = models.CharField(max_length=10)
    """pending, running, completed, failed or cancelled."""
    stopping = models.BooleanField(default=False)
    failed = models.BooleanField(default=False)
    error = models.JSONField(null=True)

    class Meta:
        db_table = "aetheris_scope"
        ordering = ("id",)
        constraints = (
            models.UniqueConstraint(fields=("owner", "index"), name="aetheris_scope_index"),
            models.CheckConstraint(name="aetheris_scope_unfinished", condition=models.Q(unfinished__gte=0)),
        )

    def __str__(self) -> str:
        return self.prefix
