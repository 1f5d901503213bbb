"""manage.py cancel: ask jobs to end."""

from runtime.management.operating import OperatingCommand


class Command(OperatingCommand):
    help = "Asks jobs to end. What does not run is cancelled now, running steps are told."
    verb = "cancel"
