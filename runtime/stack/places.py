"""Where the embedded servers of one checkout keep their data, sockets and logs.

Every path follows from the checkout's own path, so that `manage.py` finds in any shell the servers which
the stack started, and two checkouts side by side never meet.
"""

import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
DATABASE = "aetheris"
DATABASE_USER = "aetheris"
LONGEST_SOCKET_PATH = 103  # what macOS allows; Linux allows four more


@dataclass(frozen=True)
class Places:
    """The directories of one instance: the developer's own (no name), or one for tests."""

    checkout: Path = CHECKOUT
    instance: str = ""

    @property
    def local(self) -> Path:
        """Data, logs and results of this instance, inside the checkout."""
        return self.checkout / ".local" / self.instance if self.instance else self.checkout / ".local"

    @property
    def logs(self) -> Path:
        return self.local / "logs"

    @property
    def run(self) -> Path:
        """Sockets: outside the checkout, because a socket's path has to be short."""
        return _temporary() / f"aetheris-{os.getuid()}-{self.mark}"

    @property
    def mark(self) -> str:
        """Tells this instance from every other one on the machine."""
        return hashlib.sha256(f"{self.checkout}\n{self.instance}".encode()).hexdigest()[:10]

    @property
    def postgres_socket_directory(self) -> Path:
        return self.run / "pg"

    @property
    def valkey_socket(self) -> Path:
        return self.run / "valkey.sock"

    @property
    def database_url(self) -> str:
        return self.database_url_for(DATABASE)

    def database_url_for(self, database: str) -> str:
        return f"postgres://{DATABASE_USER}@/{database}?host={self.postgres_socket_directory}"

    @property
    def redis_url(self) -> str:
        return f"unix://{self.valkey_socket}?db=0"


def _temporary() -> Path:
    """/tmp where there is one: TMPDIR differs between shells, and these paths must not."""
    return Path("/tmp") if os.access("/tmp", os.W_OK | os.X_OK) else Path(tempfile.gettempdir())
