"""manage.py resume: let paused jobs go on."""

from runtime.management.operating import OperatingCommand


class Command(OperatingCommand):
    help = "Lets paused jobs go on."
    verb = "resume"
