"""manage.py reject: decide an approval."""

from runtime.management.deciding import DecidingCommand


class Command(DecidingCommand):
    help = "Rejects what a job waits for, in the name of a user."
    approve = False
