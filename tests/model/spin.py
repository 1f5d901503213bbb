"""Checking a model exhaustively: spin makes a program of it, gcc compiles it, and it visits every state."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

HERE = Path(__file__).parent
DEEPEST = 100_000
MEGABYTES = 16_000

is_here = shutil.which("spin") is not None and shutil.which("gcc") is not None
WHY_NOT = "spin and gcc are not installed (Debian: apt install spin gcc libc6-dev)"


@dataclass(frozen=True)
class Checked:
    """What became of a search. `error` is empty where every state keeps every promise."""

    states: int
    seconds: float
    error: str
    trail: str
    """The steps that lead to the error, each with its line in the model."""


def check(
    model: str, defines: Sequence[str] = (), *, is_small: bool = False, timeout: float = 600.0
) -> Checked:
    """Visit every state of a model with these words defined; stop at the first that breaks a promise.

    Of a small one, or one that is refuted soon, the compiler would take longer than the search.

    Raises `CalledProcessError` for a model that is not well formed, `TimeoutExpired` after `timeout` seconds.
    """
    flags = [f"-D{define}" for define in defines]
    with TemporaryDirectory() as folder:
        shutil.copy(HERE / f"{model}.pml", folder)

        def run(*command: str) -> str:
            return subprocess.run(
                command, cwd=folder, check=True, capture_output=True, text=True, timeout=timeout
            ).stdout

        run("spin", *flags, "-a", f"{model}.pml")
        compiled = ("-O0" if is_small else "-O2", "-w", "-DSAFETY", "-DCOLLAPSE", f"-DMEMLIM={MEGABYTES}")
        run("gcc", *compiled, "-o", "pan", "pan.c")
        told = run("./pan", f"-m{DEEPEST}", "-n", "-w24")
        error = _found(r"^pan:\d+: (.*)", told)
        if "Search not completed" in told and not error:
            error = f"the search was not completed:\n{told}"
        trail = run("spin", *flags, "-t", "-p", f"{model}.pml") if "wrote" in told else ""
        return Checked(
            int(float(_found(r"([\d.e+]+) states, stored", told) or 0)),
            float(_found(r"elapsed time ([\d.e+]+)", told) or 0),
            error,
            _readable(trail),
        )


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text, re.MULTILINE)
    return match[1] if match else ""


def _readable(trail: str) -> str:
    """The assignments and guards of each step; not how spin counts them."""
    told = []
    for line in trail.splitlines():
        step = re.match(r"\s*\d+:\s+proc\s+\d+ \((\S+?):\d+\) (\S+) \(state \d+\)\s+\[(.*)\]", line)
        if step and re.search(r"[a-z]", step[3]) and step[3] not in ("else", "sub-sequence"):
            told.append(f"{step[2]:18} {step[1]:10} {step[3]}")
    return "\n".join(told)
