"""manage.py resume: let what was paused go on."""

from runtime.management.resting import RestingCommand


class Command(RestingCommand):
    help = "Lets paused jobs, an agent or a queue go on."
    verb = "resume"
