"""manage.py retry: reopen failed jobs."""

from runtime.management.operating import OperatingCommand


class Command(OperatingCommand):
    help = "Reopens failed jobs from what failed. Completed steps and recorded effects stay as they are."
    verb = "retry"
