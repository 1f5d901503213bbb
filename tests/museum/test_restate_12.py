"""Restate (#12): for years there was no cron."""

from django_celery_beat.models import IntervalSchedule, PeriodicTask

from runtime import schedules
from runtime.models import Job
from runtime.timetables import Scheduled


def test_a_schedule_begins_one_job_for_each_tick(drive, clock):
    schedules.add("echo", Scheduled(every="1h", name="museum", input=7))
    assert schedules.run_due() == 0
    for count in (1, 2):
        clock.forward(hours=1)
        assert [schedules.run_due(), schedules.run_due()] == [1, 0]
        assert [drive(job).result for job in Job.objects.all()] == [7] * count
    PeriodicTask.objects.all().delete()
    IntervalSchedule.objects.all().delete()
