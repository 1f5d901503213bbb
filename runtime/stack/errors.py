"""What can go wrong with the local stack. Each error says what happened, where, and the way out."""

from pathlib import Path


class StackError(Exception):
    """The local stack cannot do what was asked."""


class BinariesMissing(StackError):
    """A server's programs are nowhere to be found."""

    def __init__(self, server: str, looked_in: list[str], variable: str, url: str) -> None:
        super().__init__(
            f"No {server} was found (looked in: {', '.join(looked_in)}). Install requirements.txt, or set {variable} "
            f"to where its programs are, or set {url} to use a server that runs elsewhere."
        )


class ServerFailed(StackError):
    """A server or a process did not come up, or did not stay."""

    def __init__(self, name: str, what: str, log: Path) -> None:
        super().__init__(f"{name} {what}. The end of {log}:\n{tail(log)}")


class AlreadyRunning(StackError):
    """Somebody else runs this instance."""

    def __init__(self, local: Path, holder: str) -> None:
        super().__init__(
            f"The stack of {local} is running already ({holder or 'by an unknown process'}). "
            "Stop it there with Ctrl-C, or use it as it is."
        )


class UnsafeDirectory(StackError):
    """A directory with a name anybody could guess belongs to somebody else."""

    def __init__(self, path: Path, owner: int) -> None:
        super().__init__(f"{path} belongs to user {owner} or is open to others. Remove it and start again.")


class NotWritable(StackError):
    """The checkout belongs to another user."""

    def __init__(self, path: Path, reason: OSError) -> None:
        super().__init__(
            f"Cannot write {path}: {reason.strerror}. Start as the user who owns the checkout, or as that user "
            "run `make clean` first."
        )


class NoFreePort(StackError):
    """Neither the port nor the ones after it can be had."""

    def __init__(self, host: str, first: int, last: int, reason: OSError) -> None:
        super().__init__(
            f"No port from {first} to {last} can be had on {host}: {reason.strerror}. Name another one with --port."
        )


def tail(log: Path, lines: int = 15) -> str:
    """The last lines of a log, or a word about why there are none."""
    try:
        found = log.read_text(errors="replace").splitlines()[-lines:]
    except OSError as error:
        return f"  ({error.strerror})"
    return "\n".join(f"  {line}" for line in found) or "  (empty)"
