"""manage.py adopt: let jobs go on with the code that is deployed now."""

from runtime.management.operating import OperatingCommand


class Command(OperatingCommand):
    help = (
        "Lets jobs go on with the code that is here now, where steps are held for that which they began with."
    )
    verb = "adopt"
