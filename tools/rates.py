"""How often something may be done: `10/s`, `100/m`, `5/10s`."""

import re
from dataclasses import dataclass
from datetime import timedelta

UNITS = {
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
}
FORM = re.compile(r"([1-9][0-9]{0,8})/([1-9][0-9]{0,5})?([smhd])")


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `count` in any `period`."""

    count: int
    period: timedelta

    @classmethod
    def parse(cls, text: str) -> "Rate":
        """Raises ValueError for what is no rate."""
        found = FORM.fullmatch(text)
        if found is None:
            raise ValueError(
                f'{text!r} is not a rate: write a count for a time, such as "10/s", "100/m" or "5/10s"'
            )
        count, times, unit = found.groups()
        return cls(int(count), int(times or 1) * UNITS[unit])

    def __str__(self) -> str:
        return f"{self.count}/{self.period.total_seconds():.0f}s"
