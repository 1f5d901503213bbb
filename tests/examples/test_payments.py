"""The payment service is the witness: what it promises has to be true before it can judge anything."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import httpx
import pytest

from examples.payments.effects import EffectFile, EffectsUnreadable
from examples.payments.orders import find_order

REPOSITORY = Path(__file__).parents[2]


def refund(
    payments: httpx.Client, order: str = "1001", key: str | None = "k1", **more: Any
) -> httpx.Response:
    headers = {"Idempotency-Key": key} if key else {}
    headers |= {"X-Fault": more.pop("fault")} if "fault" in more else {}
    return payments.post("/refunds", json={"order": order, "amount": 5.0, **more}, headers=headers)


def effects(payments: httpx.Client, order: str = "1001") -> int:
    return int(payments.get("/effects", params={"order": order}).json()["total"])


def test_an_order_is_the_same_each_time(payments: httpx.Client) -> None:
    assert payments.get("/orders/1001").json() == payments.get("/orders/1001").json() == find_order("1001")
    assert payments.get("/orders/large-1").json()["amount"] > 100
    assert payments.get("/orders/1001").json()["amount"] < 100
    assert payments.get("/orders/final-1").json()["refundable"] is False
    assert payments.get("/orders/missing-1").status_code == 404


def test_a_refund_is_one_effect_and_says_so(payments: httpx.Client) -> None:
    answer = refund(payments)

    assert answer.status_code == 201
    assert (answer.json()["order"], answer.json()["amount"], answer.json()["key"]) == ("1001", 5.0, "k1")
    assert payments.get("/effects").json() == {
        "total": 1,
        "by_kind": {"refund": 1},
        "by_key": {"k1": 1},
        "by_order": {"1001": {"refund": 1}},
    }


def test_the_same_key_and_body_gets_the_first_answer_again(payments: httpx.Client) -> None:
    first, second = refund(payments), refund(payments)

    assert second.json() == first.json()
    assert (first.headers.get("Idempotent-Replayed"), second.headers["Idempotent-Replayed"]) == (None, "true")
    assert effects(payments) == 1
    assert payments.get("/requests").json()["by_key"] == {"k1": 2}


def test_the_same_key_with_another_body_is_refused(payments: httpx.Client) -> None:
    refund(payments)

    assert refund(payments, amount=4.0).status_code == 422
    assert effects(payments) == 1


def test_two_keys_or_none_are_two_effects_so_that_a_double_refund_shows(payments: httpx.Client) -> None:
    for key in ("k1", "k2", None, None):
        assert refund(payments, key=key).status_code == 201

    assert effects(payments) == 4


def test_a_key_in_flight_is_409_until_its_request_has_acted(payments: httpx.Client) -> None:
    with ThreadPoolExecutor() as pool:
        slow = pool.submit(refund, payments, fault="late-before-0.3")
        while payments.get("/requests").json()["total"] == 0:
            pass
        early = refund(payments)
        slow.result()

    assert (early.status_code, early.headers["Retry-After"]) == (409, "1")
    assert slow.result().status_code == 201
    assert refund(payments).headers["Idempotent-Replayed"] == "true"
    assert effects(payments) == 1


def test_of_many_at_once_with_one_key_one_acts(payments: httpx.Client) -> None:
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: refund(payments), range(16)))

    assert {answer.status_code for answer in answers} <= {201, 409}
    assert effects(payments) == 1


@pytest.mark.parametrize(
    "body",
    [
        {"order": "1001", "amount": 0},
        {"order": "1001", "amount": -1},
        {"order": "1001", "amount": True},
        {"order": "1001", "amount": "5"},
        {"order": "1001", "amount": 1e9},
        {"order": "1001"},
        {"order": "", "amount": 5},
        {"order": 7, "amount": 5},
        {"amount": 5},
        [],
        None,
    ],
)
def test_a_bad_refund_is_422_and_frees_its_key(payments: httpx.Client, body: Any) -> None:
    answer = payments.post("/refunds", json=body, headers={"Idempotency-Key": "k1"})

    assert answer.status_code == 422
    assert answer.json()["error"]["message"]
    assert refund(payments).status_code == 201


@pytest.mark.parametrize("content", [b"{", b'{"order": "1001", "amount": NaN}', b"[" * 100_000, b"\xff"])
def test_what_is_not_json_is_400(payments: httpx.Client, content: bytes) -> None:
    assert payments.post("/refunds", content=content).status_code == 400
    assert payments.get("/healthz").status_code == 200


def test_a_refund_can_be_looked_up_by_its_key(payments: httpx.Client) -> None:
    receipt = refund(payments).json()

    assert payments.get("/refunds", params={"key": "k1"}).json() == {"refunds": [receipt]}
    assert payments.get("/refunds", params={"key": "k2"}).json() == {"refunds": []}
    assert payments.get("/refunds").status_code == 422


def test_a_closed_key_never_acts_and_a_used_one_cannot_be_closed(payments: httpx.Client) -> None:
    receipt = refund(payments).json()

    assert payments.post("/refunds/closed", json={"key": "k1"}).json() == {"refunds": [receipt]}
    assert payments.post("/refunds/closed", json={"key": "k2"}).json() == {"refunds": []}
    assert refund(payments, key="k2").status_code == 410
    assert payments.get("/effects").json()["total"] == 1


def test_every_message_is_sent_and_can_be_looked_up(payments: httpx.Client) -> None:
    for _ in range(2):
        answer = payments.post(
            "/messages", json={"order": "1001", "text": "Refunded."}, headers={"Idempotency-Key": "m1"}
        )
        assert answer.status_code == 201

    assert len(payments.get("/messages", params={"key": "m1"}).json()["messages"]) == 2
    assert payments.get("/effects").json()["by_order"] == {"1001": {"message": 2}}


@pytest.mark.parametrize(
    ("fault", "status", "done"),
    [("fail", 500, 0), ("fail-after", 500, 1), ("refuse", 422, 0), ("busy-7", 429, 0), ("late-0.1", 201, 1)],
)
def test_a_fault_answers_and_acts_as_told(payments: httpx.Client, fault: str, status: int, done: int) -> None:
    answer = refund(payments, fault=fault)

    assert (answer.status_code, effects(payments)) == (status, done)
    assert answer.headers.get("Retry-After") == ("7" if status == 429 else None)
    assert refund(payments).status_code == 201
    assert effects(payments) == 1


@pytest.mark.parametrize(
    ("fault", "done"),
    [("reset", 1), ("reset-before", 0), ("truncate", 1), ("hang-0.05", 0), ("hang-after-0.05", 1)],
)
def test_a_fault_can_take_the_answer_away(payments: httpx.Client, fault: str, done: int) -> None:
    with pytest.raises(httpx.TransportError):
        refund(payments, fault=fault)

    assert effects(payments) == done
    assert refund(payments).status_code == 201
    assert effects(payments) == 1


def test_late_means_the_effect_is_there_before_the_answer(payments: httpx.Client) -> None:
    with ThreadPoolExecutor() as pool:
        late = pool.submit(refund, payments, order="1001.late-2")
        started = monotonic()
        while effects(payments, "1001.late-2") == 0:
            assert monotonic() - started < 60
        assert not late.done()
        again = refund(payments, order="1001.late-2")

    assert again.json() == late.result().json()
    assert effects(payments, "1001.late-2") == 1


def test_faults_from_the_control_endpoint_hit_what_they_name_as_often_as_told(payments: httpx.Client) -> None:
    payments.post(
        "/faults", json={"kind": "busy", "status": 503, "order": "1002", "times": 2, "path": "/refunds"}
    )

    assert refund(payments, order="1001", key=None).status_code == 201
    assert [refund(payments, order="1002", key=None).status_code for _ in range(3)] == [503, 503, 201]
    assert payments.get("/faults").json() == {"faults": []}


def test_a_fault_without_an_end_lasts_until_it_is_cleared(payments: httpx.Client) -> None:
    payments.post("/faults", json={"kind": "fail", "times": None})
    assert [refund(payments).status_code for _ in range(3)] == [500, 500, 500]

    payments.delete("/faults")
    assert refund(payments).status_code == 201


@pytest.mark.parametrize(
    "fault", [{}, {"kind": "explode"}, {"kind": "fail", "colour": 1}, {"kind": "late", "seconds": "x"}]
)
def test_an_unknown_fault_is_422(payments: httpx.Client, fault: dict[str, Any]) -> None:
    assert payments.post("/faults", json=fault).status_code == 422


def test_unknown_places_and_methods_are_named(payments: httpx.Client) -> None:
    assert payments.get("/nowhere").status_code == 404
    assert payments.delete("/refunds").status_code == 405


@contextmanager
def running(file: Path) -> Iterator[tuple[httpx.Client, subprocess.Popen[str]]]:
    command = [sys.executable, "-m", "examples.payments", "--port", "0", "--file", str(file)]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["url"]
        try:
            with httpx.Client(base_url=url, trust_env=False) as client:
                yield client, process
        finally:
            process.kill()


def test_effects_and_keys_survive_kill_9(tmp_path: Path) -> None:
    file = tmp_path / "effects.jsonl"
    with running(file) as (payments, process):
        receipt = refund(payments).json()
        payments.post("/refunds/closed", json={"key": "k2"})
        os.kill(process.pid, signal.SIGKILL)

    with running(file) as (payments, process):
        again = refund(payments)
        assert (again.json(), again.headers["Idempotent-Replayed"]) == (receipt, "true")
        assert refund(payments, key="k2").status_code == 410
        assert payments.get("/effects").json()["total"] == 1

        process.terminate()
        assert process.wait(60) == 0

    assert [json.loads(line)["kind"] for line in file.read_text().splitlines()] == ["refund", "closed"]


def test_a_line_cut_off_by_a_crash_is_dropped_and_a_foreign_line_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "effects.jsonl"
    EffectFile(file).add("refund", {"order": "1001", "amount": 5.0}, "k1")
    whole = file.read_bytes()

    file.write_bytes(whole + whole[:20])
    assert len(EffectFile(file).find()) == 1
    assert file.read_bytes() == whole

    file.write_bytes(whole + b"hello\n")
    with pytest.raises(EffectsUnreadable, match=r"line 2, is not an effect"):
        EffectFile(file)


def test_a_service_may_end_with_the_process_that_started_it(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "examples.payments", "--with-parent", f"--file={tmp_path}/effects"]
    script = f"import subprocess, time; subprocess.Popen({command!r}); time.sleep(60)"
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        url = json.loads(parent.stdout.readline())["url"]
        assert httpx.get(f"{url}/healthz", trust_env=False).is_success
        parent.kill()
        assert parent.stdout.read() == ""  # the service held the other end of the pipe until it ended

    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/healthz", trust_env=False)


def test_a_port_in_use_is_said_plainly(tmp_path: Path) -> None:
    with running(tmp_path / "one.jsonl") as (payments, _):
        second = subprocess.run(
            [
                sys.executable,
                "-m",
                "examples.payments",
                f"--port={payments.base_url.port}",
                f"--file={tmp_path}/two",
            ],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            timeout=120,
        )

    assert second.returncode == 1
    assert "in use" in second.stderr
