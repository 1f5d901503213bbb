"""DBOS (a third party's finding): garbage collection removed what live work still referred to.

Nothing is deleted here yet. What could be deleted by hand is guarded by what refers to it.
"""

import pytest
from django.db import DatabaseError, connection
from django.db.models import ProtectedError

from runtime.models import Job
from tests.engine.driving import calling, submit


@pytest.mark.parametrize("end", [False, True])
def test_nothing_that_a_job_refers_to_can_be_taken_from_under_it(end, drive):
    job = submit(calling("charge"))
    if end:
        drive(job)
    with pytest.raises(ProtectedError):
        Job.objects.get(pk=job.pk).delete()
    for table in ("aetheris_event", "aetheris_event_part"):
        with pytest.raises(DatabaseError, match="append-only"), connection.cursor() as cursor:
            cursor.execute(f"DELETE FROM {table}")
