"""`make demo ARGS=--once` as a newcomer runs it: in a checkout of its own, with every process it starts."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import services

REPOSITORY = Path(__file__).parents[2]
LEFT_OUT = shutil.ignore_patterns(".venv", ".local", ".git", ".*_cache", "tests", "docs", "benchmarks")


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Path]:
    """Another checkout beside this one, and nothing left of its servers afterwards."""
    tmp_path.parent.chmod(0o755)
    copy = tmp_path / "checkout"
    shutil.copytree(REPOSITORY, copy, ignore=LEFT_OUT)
    yield copy
    subprocess.run([sys.executable, "-m", "runtime.stack.clean"], cwd=copy, env=environment(), check=True)


def environment() -> dict[str, str]:
    """As in a shell of its own: this run's servers, settings and model are not the demo's."""
    plain = services.plain_environment()
    left_out = {
        "DATABASE_URL",
        "REDIS_URL",
        "DJANGO_SETTINGS_MODULE",
        "OPENAI_API_KEY",
        "AETHERIS_APPS",
        "PYTHONPATH",
    }
    return {name: value for name, value in plain.items() if name not in left_out}


def test_the_demo_holds_what_it_promises_and_ends(checkout: Path):
    arguments = [sys.executable, "manage.py", "demo", "--once", "--jobs", "5", "--port", "0"]
    with open(checkout / "demo.log", "w+") as log:
        ended = subprocess.run(
            arguments, cwd=checkout, env=environment(), stdout=log, stderr=subprocess.STDOUT
        )
        log.seek(0)
        told = log.read()

    assert ended.returncode == 0, told
    report = json.loads((checkout / ".local" / "demo.json").read_text())
    assert (report["held"], report["failure"], report["doctor"]) == (True, "", [])
    jobs = report["jobs"]
    assert [job["scene"] for job in jobs] == ["small", *["5 at once"] * 5, "killed worker", "approved"]
    assert {(job["status"], job["refunds"], job["messages"]) for job in jobs} == {("completed", 1, 1)}
    killed = jobs[6]
    assert (killed["attempts"], killed["sent"]) == (killed["steps"] + 1, 2)
    assert killed["recovery_seconds"] is not None
    for expected in ("What happened", "killed worker", "doctor: found nothing"):
        assert expected in told
    assert not _still_running(checkout)


def _still_running(checkout: Path) -> list[str]:
    """Processes that work in the checkout."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if os.readlink(process / "cwd").startswith(str(checkout)):
                found.append((process / "cmdline").read_text())
        except OSError:
            continue  # it has ended, or is none of ours
    return found
