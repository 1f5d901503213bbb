"""The embedded Valkey (or Redis): leases and hints. It may lose everything; the database does not."""

import signal
import socket

from runtime.stack import binaries, processes
from runtime.stack.child import Child
from runtime.stack.places import Places


class Valkey(Child):
    """The server of one instance, on a Unix socket that only its user may open."""

    patience = 20.0

    def __init__(self, places: Places) -> None:
        super().__init__("valkey", places.logs / "valkey.log")
        self.socket = places.valkey_socket
        self.data = places.local / "valkey"

    def _start(self) -> None:
        """Finish off an earlier server of this directory, and serve."""
        self.data.mkdir(mode=0o700, exist_ok=True)
        self.clear_leftovers()
        self._spawn([str(binaries.valkey()), *self._options()], cwd=self.data)
        self.wait_ready()

    def ready(self) -> bool:
        try:
            return self.command("PING") == "+PONG"
        except OSError:
            return False

    def flush(self) -> None:
        """FLUSHALL: every lease and every hint is gone."""
        self.command("FLUSHALL")

    def command(self, line: str) -> str:
        """One command in Valkey's inline form; the first line of the answer."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(5)
            connection.connect(str(self.socket))
            connection.sendall(f"{line}\r\n".encode())
            return connection.makefile().readline().rstrip()

    def clear_leftovers(self) -> None:
        processes.finish(processes.servers_in(self.data, "valkey", "redis"), signal.SIGTERM, grace=3)
        self.socket.unlink(missing_ok=True)

    def _options(self) -> list[str]:
        chosen = {
            "--port": "0",
            "--unixsocket": str(self.socket),
            "--unixsocketperm": "700",
            "--dir": str(self.data),
            "--appendonly": "yes",
            "--appendfsync": "everysec",
            "--save": "",
            "--maxmemory-policy": "noeviction",  # an evicting server drops hints without a word
        }
        return [part for option in chosen.items() for part in option]
