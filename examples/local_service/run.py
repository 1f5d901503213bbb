"""Run a service as a process: say the port in one JSON line, serve until told to stop."""

import json
import os
import signal
import sys
from argparse import ArgumentParser
from threading import Event

from examples.local_service.http import Server, Service


def arguments(name: str, description: str) -> ArgumentParser:
    """What every service can be told."""
    parser = ArgumentParser(prog=name, description=description)
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one and prints it as JSON")
    parser.add_argument(
        "--with-parent", action="store_true", help="end when the process that started it ends"
    )
    return parser


def run(service: Service, port: int, with_parent: bool) -> int:
    """Serve until SIGTERM or Ctrl-C; the exit code."""
    parent = os.getppid() if with_parent else None
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
        while not stop.wait(0.5 if with_parent else None):
            if os.getppid() != parent:
                break
    return 0
