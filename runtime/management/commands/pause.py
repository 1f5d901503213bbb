"""manage.py pause: let jobs rest."""

from runtime.management.operating import OperatingCommand


class Command(OperatingCommand):
    help = "Lets jobs rest: running steps finish and nothing new starts. Signals and due timers are kept."
    verb = "pause"
