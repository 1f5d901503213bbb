"""An environment of its own for each system, made when it is first needed: .local/bench/environments/NAME."""

import shutil
import subprocess
import sys
import zlib
from pathlib import Path

from benchmarks.catalog import System
from runtime.stack.places import CHECKOUT

QUIETLY = ("--quiet", "--disable-pip-version-check", "--no-input", "--retries", "1")
ROOT = CHECKOUT / ".local" / "bench" / "environments"


class EnvironmentMissing(Exception):
    def __init__(self, system: str, why: str) -> None:
        super().__init__(f"{system} cannot be installed here and is left out: {why}")


def python_of(system: System) -> Path:
    """The interpreter that runs this system; raises `EnvironmentMissing` where it cannot be installed."""
    if not system.own_environment:
        return Path(sys.executable)
    place = ROOT / system.name
    stamp = place / ".installed"
    wanted = f"{zlib.crc32(system.requirements.read_bytes())} {system.npm}"
    if not stamp.exists() or stamp.read_text() != wanted:
        _make(system, place)
        stamp.write_text(wanted)
    return place / "bin" / "python"


def versions(system: System) -> dict[str, str]:
    """Of the packages that matter, and of what npm brought."""
    code = "import sys; from importlib.metadata import version; print(*[version(n) for n in sys.argv[1:]], sep='\\n')"
    lines = _run(system, [str(python_of(system)), "-c", code, *system.shown]).split()
    found = dict(zip(system.shown, lines, strict=True))
    if system.npm:
        name, _, number = system.npm.rpartition("@")
        found[name] = number
    return found


def _make(system: System, place: Path) -> None:
    print(f"Installing {system.title} …", flush=True)
    shutil.rmtree(place, ignore_errors=True)
    python = str(place / "bin" / "python")
    required = ["-r", str(system.requirements)]
    uv = shutil.which("uv")
    if uv:
        _run(system, [uv, "venv", "--quiet", "--python", sys.executable, str(place)])
        _run(system, [uv, "pip", "install", "--quiet", "--python", python, *required])
    else:
        _run(system, [sys.executable, "-m", "venv", str(place)])
        _run(system, [python, "-m", "pip", "install", *QUIETLY, *required])
    if system.npm:
        npm = shutil.which("npm")
        if npm is None:
            raise EnvironmentMissing(system.title, "its server comes from npm, which is not installed")
        _run(
            system,
            [npm, "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(place), system.npm],
        )


def _run(system: System, command: list[str]) -> str:
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=900).stdout
    except subprocess.SubprocessError as error:
        said = error.stderr.strip() if isinstance(error, subprocess.CalledProcessError) else ""
        raise EnvironmentMissing(system.title, (said or str(error)).splitlines()[-1]) from error
