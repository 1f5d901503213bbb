"""The engine under faults that happen: real processes, servers of their own, default settings.

Each test looks at three things: the rows and events, `doctor`, and the witness outside, which counts what it was
really asked to do. `AETHERIS_LONG=1` takes the outages to their full length and kills more often.
"""

import os

LONG = bool(os.environ.get("AETHERIS_LONG"))
