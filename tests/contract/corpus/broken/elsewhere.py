"""What a helper in another module of the package does is found there."""

# mypy: ignore-errors

import time
import uuid as ids
from datetime import datetime

from django.utils.timezone import now as moment  # noqa: F401 - for those who import it from here

stamp = datetime.now


def elapsed():
    return time.monotonic()  # breaks: clock


def fresh():
    return ids.uuid4().hex  # breaks: random
