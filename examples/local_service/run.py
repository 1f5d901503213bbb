"""Run a service as a process: say the port in one JSON line, serve until told to stop."""

import json
import signal
import sys
from threading import Event

from examples.local_service.http import Server, Service


def run(service: Service, port: int) -> int:
    """Serve until SIGTERM or Ctrl-C; the exit code."""
    try:
        server = Server(service, port)
    except OSError as error:
        print(f"Port {port}: {error.strerror}. Give another, or 0 for a free one.", file=sys.stderr)
        return 1
    stop = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with server:
        print(json.dumps({"port": server.port, "url": server.url}), flush=True)
        stop.wait()
    return 0
