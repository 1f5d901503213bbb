"""Where the embedded servers of one checkout keep their data, sockets and logs.

Every path follows from the checkout's own path, so that `manage.py` finds in any shell the servers which
the stack started, and two checkouts side by side never meet.
"""

import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from runtime.stack.errors import NotWritable, UnsafeDirectory

CHECKOUT = Path(__file__).resolve().parents[2]
DATABASE = "aetheris"
DATABASE_USER = "aetheris"


@dataclass(frozen=True)
class Places:
    """The directories of one instance: the developer's own (no name), or one for tests."""

    checkout: Path = CHECKOUT
    instance: str = ""

    @property
    def local(self) -> Path:
        """Data, logs and results of this instance, inside the checkout."""
        return self.checkout / ".local" / self.instance

    @property
    def logs(self) -> Path:
        return self.local / "logs"

    @property
    def lock(self) -> Path:
        """Held by whoever runs this instance; says who that is."""
        return self.local / "stack.lock"

    @property
    def record(self) -> Path:
        """The processes of this instance, for whoever has to clear up after a supervisor that was killed."""
        return self.local / "stack.json"

    @property
    def run(self) -> Path:
        """Sockets: outside the checkout, because a socket's path must stay under 104 bytes."""
        return _temporary() / f"aetheris-{os.getuid()}-{self.mark}"

    @property
    def refuge(self) -> Path:
        """Data and programs of a server whose user cannot reach the checkout (root's home, say)."""
        return Path("/var/tmp") / f"aetheris-{os.getuid()}-{self.mark}"

    @property
    def mark(self) -> str:
        """Tells this instance from every other one on the machine."""
        return hashlib.sha256(f"{self.checkout}\n{self.instance}".encode()).hexdigest()[:10]

    @property
    def postgres_sockets(self) -> Path:
        return self.run / "pg"

    @property
    def valkey_socket(self) -> Path:
        return self.run / "valkey.sock"

    @property
    def database_url(self) -> str:
        return self.database_url_of(DATABASE)

    def database_url_of(self, database: str) -> str:
        return f"postgres://{DATABASE_USER}@/{database}?host={self.postgres_sockets}"

    @property
    def redis_url(self) -> str:
        return f"unix://{self.valkey_socket}?db=0"

    def prepare(self) -> None:
        """Make the directories. Others may pass through, so that a server's own user gets to its part, but not look."""
        top = self.checkout / ".local"
        between = [path for path in reversed(self.local.parents) if path.is_relative_to(top)]
        try:
            for directory in (*between, top / "static", self.local, self.logs):
                directory.mkdir(parents=True, exist_ok=True)
                directory.chmod(0o700 if directory == self.logs else 0o711)
        except OSError as error:
            raise NotWritable(directory, error) from error
        own(self.run)


def own(directory: Path) -> None:
    """Make a directory whose name others could have guessed, and refuse one that they made."""
    directory.mkdir(mode=0o711, exist_ok=True)
    found = directory.lstat()
    if found.st_uid != os.getuid() or directory.is_symlink() or found.st_mode & 0o022:
        raise UnsafeDirectory(directory, found.st_uid)
    directory.chmod(0o711)


def _temporary() -> Path:
    """/tmp where there is one: TMPDIR differs between shells, and these paths must not."""
    return Path("/tmp") if os.access("/tmp", os.W_OK | os.X_OK) else Path(tempfile.gettempdir())
