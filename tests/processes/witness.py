"""What these tests know from outside: the witness's own counts, and the flags that make a worker die."""

from pathlib import Path
from typing import Any

import httpx

from runtime.models import Job
from runtime.ports import CrashPoint


class Witness:
    """The payment service, asked over HTTP like everybody else asks it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._http = httpx.Client(base_url=url, timeout=60, trust_env=False)

    def effects(self, job: Job) -> int:
        """How many things happened in the name of a job."""
        return int(self._get("/effects", order=order_of(job))["total"])

    def effects_by_key(self) -> dict[str, int]:
        """How many things happened under each key. More than one breaks the promise."""
        counts: dict[str, int] = self._get("/effects")["by_key"]
        return counts

    def requests(self, job: Job) -> int:
        """How often something was sent in the name of a job, answered or not."""
        sent: dict[str, int] = self._get("/requests")["by_key"]
        return sum(sent.get(str(entry.idempotency_key), 0) for entry in job.ledger.all())

    def most_at_once(self, job: Job) -> int:
        """How many requests in the name of a job were under way at the same time."""
        return int(self._get("/requests")["at_once"].get(order_of(job), 0))

    def go_wrong(self, **fault: Any) -> None:
        """As `POST /faults` takes it."""
        self._post("/faults", **fault)

    def answer_late(self, order: str, seconds: float) -> None:
        """The next request of this order takes effect at once and is answered later."""
        self.go_wrong(kind="late", order=order, seconds=seconds)

    def answer_slowly(self, order: str, seconds: float) -> None:
        """As `answer_late`, every time."""
        self.go_wrong(kind="late", order=order, seconds=seconds, times=None)

    def act_late(self, order: str, seconds: float) -> None:
        """The next request of this order takes effect, and is answered, only later."""
        self.go_wrong(kind="late", at="before", order=order, seconds=seconds)

    def end_payout(self, job: Job, status: str = "paid") -> int:
        """End the payout of a job, and tell by webhook, again each time; what that was answered with, 0 for nothing."""
        [payout] = [
            effect
            for effect in self._get("/effects", order=order_of(job))["effects"]
            if effect["kind"] == "payout"
        ]
        return int(self._http.post(f"/payouts/{payout['id']}/end", json={"status": status}).json()["told"])

    def messages(self, job: Job) -> int:
        """How many messages were sent about the order of a job."""
        effects = self._get("/effects", order=order_of(job))["effects"]
        return sum(effect["kind"] == "message" for effect in effects)

    def forgive(self) -> None:
        """Nothing goes wrong any more."""
        self._http.delete("/faults").raise_for_status()

    def close(self) -> None:
        self._http.close()

    def _get(self, path: str, **query: str) -> Any:
        return self._http.get(path, params=query).raise_for_status().json()

    def _post(self, path: str, /, **body: Any) -> None:
        self._http.post(path, json=body).raise_for_status()


def order_of(job: Job) -> str:
    given: dict[str, str] = job.input or {}
    return given["order"]


class Flags:
    """A file for each crash point; the worker that finds one there removes it and dies."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    @property
    def spec(self) -> str:
        return ",".join(f"{point}:{self._file(point)}" for point in CrashPoint)

    def raise_at(self, point: CrashPoint) -> None:
        self._file(point).touch()

    def is_raised(self, point: CrashPoint) -> bool:
        return self._file(point).exists()

    def lower(self) -> None:
        for point in CrashPoint:
            self._file(point).unlink(missing_ok=True)

    def _file(self, point: CrashPoint) -> Path:
        return self._directory / point.value
