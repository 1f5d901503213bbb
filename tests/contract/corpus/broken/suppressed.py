"""Suppressions: one line, one code, one reason."""

# mypy: ignore-errors

import random
import time


def silenced(context):
    began = time.time()  # aetheris: allow[clock] for the log line only
    return str(bool(began))


def silenced_where_it_ends(context):
    return time.strftime(
        "%Y",
    )  # aetheris: allow[clock] the year on the printed form


def two_codes(context):
    return time.time() * random.random()  # aetheris: allow[clock, random] jitter of a log line


def without_reason(context):
    return time.time()  # aetheris: allow[clock]  # breaks: clock, suppression


def wrong_code(context):
    return time.time()  # aetheris: allow[random] not this one  # breaks: clock


def unknown_code(context):
    return time.time()  # aetheris: allow[time] for the log  # breaks: clock, suppression


def without_code(context):
    return time.time()  # aetheris: this is fine  # breaks: clock, suppression


def another_line(context):
    # aetheris: allow[clock] the next line is not this line
    return time.time()  # breaks: clock


def in_text(context):
    return time.time(), "# aetheris: allow[clock] in a text"  # breaks: clock
