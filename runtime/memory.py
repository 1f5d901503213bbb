"""Results of earlier steps that a worker keeps at hand while it goes on with a job, up to so many bytes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Set
from typing import Any

from runtime import blobs
from runtime.models import Job, Step
from runtime.outages import wait_out

MOST_BYTES = 16 * 1024 * 1024

JSON = Any


class Results:
    """By step key, the oldest first. What there is no room for is read again when it is needed."""

    def __init__(self, job: Job, values: Mapping[str, JSON]) -> None:
        self._job = job
        self._values: dict[str, JSON] = {}
        self._sizes: dict[str, int] = {}
        self.bytes = 0
        self.take(values)

    def take(self, values: Mapping[str, JSON]) -> None:
        """Keep what came with a claim. A large value did not: it is fetched where it is needed."""
        self._keep_all(
            {key: value for key, value in values.items() if type(blobs.mark(value)) is not blobs.Kept}
        )

    def have(self, keys: Iterable[str]) -> bool:
        return all(key in self._values for key in keys)

    def keep(self, key: str, value: JSON, size: int) -> None:
        """Keep a result of `size` bytes as JSON at hand."""
        self._forget(key)
        self._values[key], self._sizes[key] = value, size
        self.bytes += size
        while self.bytes > MOST_BYTES:
            self._forget(next(iter(self._values)))

    def of(self, keys: Set[str]) -> dict[str, JSON]:
        """The results of these steps, read where they are not at hand."""
        found = {key: self._values[key] for key in keys if key in self._values}
        return found if len(found) == len(keys) else found | self._read(keys - found.keys())

    def _read(self, keys: Set[str]) -> dict[str, JSON]:
        rows = Step.objects.filter(job=self._job, key__in=keys).values_list("key", "result")
        read = wait_out(lambda: blobs.all_whole(self._job.tenant, dict(rows.all())))
        self._keep_all(read)
        return read

    def _keep_all(self, read: Mapping[str, JSON]) -> None:
        for key, value in read.items():
            if value is not None:  # else it may be of a step that has not ended yet
                self.keep(key, value, _size(value))

    def _forget(self, key: str) -> None:
        if key in self._values:
            del self._values[key]
            self.bytes -= self._sizes.pop(key)


def _size(value: JSON) -> int:
    return len(json.dumps(value, ensure_ascii=False))
