"""manage.py pause: let jobs, an agent or a queue rest."""

from runtime.management.resting import RestingCommand


class Command(RestingCommand):
    help = (
        "Lets jobs, a whole agent or a whole queue rest: running steps finish and nothing new starts. Signals and due "
        "timers are kept."
    )
    verb = "pause"
