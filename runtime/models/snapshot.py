"""Snapshots of the fold: a cache for readers, which may be deleted at any time."""

from django.db import models

from runtime.models.job import Job


class Snapshot(models.Model):
    """The state of a job after event `seq`, as the fold of one `version` had it."""

    pk = models.CompositePrimaryKey("job_id", "seq")
    job = models.ForeignKey(
        Job, models.DO_NOTHING, related_name="snapshots", db_constraint=False, db_index=False
    )
    seq = models.BigIntegerField()
    version = models.CharField(max_length=16)
    state = models.BinaryField()
    """JSON, compressed."""

    class Meta:
        db_table = "aetheris_snapshot"
        ordering = ("job_id", "seq")

    def __str__(self) -> str:
        return f"{self.job_id} after {self.seq}"
