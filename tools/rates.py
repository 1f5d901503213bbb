"""How often and how many at once: what `rate` and `concurrency` of a tool or a model say."""

import re
from dataclasses import dataclass

UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
RATE = re.compile(r"([1-9][0-9]{0,5})/([smhd])")
MOST = 100_000


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `count` calls begin in any `seconds`, and at most `concurrency` are under way; 0 is no limit."""

    rate: str = ""
    concurrency: int = 0

    def __post_init__(self) -> None:
        """Raises `ValueError` for what says nothing."""
        if self.rate and not RATE.fullmatch(self.rate):
            raise ValueError(f"rate {self.rate!r} must be a number and s, m, h or d, such as 10/s or 100/m")
        if not 0 <= self.concurrency <= MOST or self.concurrency != int(self.concurrency):
            raise ValueError(f"concurrency {self.concurrency!r} must be a whole number from 1 to {MOST}")

    def __bool__(self) -> bool:
        return bool(self.rate or self.concurrency)

    @property
    def count(self) -> int:
        return int(self.rate.split("/")[0]) if self.rate else 0

    @property
    def seconds(self) -> float:
        return UNITS[self.rate[-1]] if self.rate else 0.0
