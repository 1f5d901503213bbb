"""A host of its own on this machine, and a cable to it that can be pulled: what a proxy cannot show.

A network namespace with a pair of virtual devices, which root may make. While the cable is out no packet arrives, in
either direction, and none is acknowledged; connections stay open on both sides and know nothing.
"""

from __future__ import annotations

import os
import subprocess
from typing import Self


class NoHost(Exception):
    """This machine lets nobody make one."""


class Host:
    """`here` is the address of this machine as seen from there; `inside` runs a command there."""

    def __init__(self) -> None:
        number = os.getpid()
        self.name = f"aetheris-{number}"
        self.here, self.there = (f"10.231.{number % 256}.{end}" for end in (1, 2))
        self._near, self._far = f"ae{number}n", f"ae{number}f"

    def __enter__(self) -> Self:
        _ip("netns", "add", self.name)
        try:
            _ip("link", "add", self._near, "type", "veth", "peer", "name", self._far, "netns", self.name)
            _ip("address", "add", f"{self.here}/30", "dev", self._near)
            _ip("-n", self.name, "address", "add", f"{self.there}/30", "dev", self._far)
            _ip("-n", self.name, "link", "set", self._far, "up")
            _ip("-n", self.name, "link", "set", "lo", "up")
            self.plug()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        _ip("netns", "delete", self.name)  # and its devices with it

    def inside(self, command: list[str]) -> list[str]:
        return ["ip", "netns", "exec", self.name, *command]

    def pull(self) -> None:
        _ip("link", "set", self._near, "down")

    def plug(self) -> None:
        _ip("link", "set", self._near, "up")


def _ip(*arguments: str) -> None:
    """Raises `NoHost`."""
    try:
        subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)
    except FileNotFoundError:
        raise NoHost("There is no ip (Debian: apt install iproute2).") from None
    except subprocess.CalledProcessError as error:
        raise NoHost(f"ip {' '.join(arguments)}: {error.stderr.strip()}") from None
