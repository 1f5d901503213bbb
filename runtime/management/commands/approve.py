"""manage.py approve: decide an approval."""

from runtime.management.deciding import DecidingCommand


class Command(DecidingCommand):
    help = "Approves what a job waits for, in the name of a user."
    approve = True
