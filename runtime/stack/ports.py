"""The port that the web process serves on."""

import socket

from runtime.stack.errors import NoFreePort

FURTHER = 50


def listen(host: str, port: int) -> socket.socket:
    """A listening socket on this port or, where it is taken, on the next free one.

    The supervisor keeps it and the web process inherits it: no one can take the port in between, and while the web
    process restarts, clients wait instead of being refused.
    """
    taken: OSError | None = None
    for candidate in [0] if port == 0 else range(port, min(port + FURTHER, 65535) + 1):
        listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((host, candidate))
            listening.listen(128)
        except OSError as error:
            listening.close()
            taken = error
        else:
            return listening
    raise NoFreePort(host, port, port + FURTHER, taken or OSError("no such port"))
