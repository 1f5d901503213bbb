"""Where requests may go: which hosts, and which addresses behind them."""

import socket
from collections.abc import Callable, Collection
from concurrent.futures import Future
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from threading import Thread
from typing import Any

import httpx

from tools.errors import Refused
from tools.http.addresses import Address, is_odd_spelling, literal, why_internal

Resolver = Callable[..., list[tuple[Any, ...]]]
DEFAULT_PORTS = {"http": 80, "https": 443}


class Forbidden(Refused):
    """The request was not made: it may not go there."""

    def __init__(self, target: object, reason: str) -> None:
        super().__init__(f"Nothing was sent to {target}: {reason}.")
        self.target = str(target)
        self.reason = reason


@dataclass(frozen=True)
class Reach:
    """`hosts` None means any public host; else names, `*.example.com` for all below, with `:port` where unusual.

    `internal` names the hosts and networks inside that may be reached all the same.
    """

    hosts: Collection[str] | None = None
    internal: Collection[str] = ()
    resolve: Resolver = field(default=socket.getaddrinfo, repr=False)

    def __post_init__(self) -> None:
        for name in ("hosts", "internal"):
            if isinstance(getattr(self, name), str):
                raise TypeError(f"{name} is a list of names, not one text: [{getattr(self, name)!r}]")

    def check(self, url: httpx.URL) -> None:
        """Raise `Forbidden` unless the URL may be asked for. Says nothing of its address yet."""
        if url.scheme not in DEFAULT_PORTS or not url.host:
            raise Forbidden(url, "only http:// and https:// addresses can be asked for")
        if url.userinfo:
            raise Forbidden(url.host, "a user and password do not belong in a URL")
        if is_odd_spelling(url.host):
            raise Forbidden(url.host, "a number is not a host; write an address with four dotted decimals")
        if self.hosts is not None and not any(_names(pattern, url) for pattern in self.hosts):
            raise Forbidden(
                f"{_plain(url.host)}:{_port(url)}", f"the hosts of this tool are {', '.join(self.hosts)}"
            )

    def addresses(self, host: str, port: int, timeout: float) -> list[Address]:
        """Resolve once; connect to what this answers, and to nothing else. Raises `Forbidden` or `OSError`."""
        found = _addresses(self._looked_up(host, port, timeout))
        allowed = [address for address in found if self._allows(host, address)]
        if not allowed:
            reasons = "; ".join(f"{address} is {why_internal(address)}" for address in found)
            raise Forbidden(
                host,
                f"{reasons or 'it has no address'}. List it under `internal` if it is meant to be reached",
            )
        return allowed

    def _allows(self, host: str, address: Address) -> bool:
        if why_internal(address) is None:
            return True
        return any(
            address in entry if isinstance(entry, IPv4Network | IPv6Network) else entry == _plain(host)
            for entry in map(_network_or_name, self.internal)
        )

    def _looked_up(self, host: str, port: int, timeout: float) -> list[tuple[Any, ...]]:
        # The C library's resolver takes no timeout, so it is waited for, and left behind when it takes too long.
        future: Future[list[tuple[Any, ...]]] = Future()

        def look_up() -> None:
            try:
                future.set_result(self.resolve(host, port, type=socket.SOCK_STREAM))
            except (OSError, UnicodeError) as error:
                future.set_exception(OSError(f"{host} cannot be resolved: {error}"))

        if literal(host) is not None:
            look_up()
        else:
            Thread(target=look_up, name=f"resolve {host}", daemon=True).start()
        try:
            return future.result(timeout)
        except TimeoutError as error:
            raise TimeoutError(f"{host} was not resolved within {timeout:.1f} seconds") from error


def _addresses(answers: list[tuple[Any, ...]]) -> list[Address]:
    return list(dict.fromkeys(ip_address(sockaddr[0]) for *_, sockaddr in answers))


def _network_or_name(entry: str) -> IPv4Network | IPv6Network | str:
    try:
        return ip_network(entry.strip("[]"), strict=False)
    except ValueError:
        return _plain(entry)


def _names(pattern: str, url: httpx.URL) -> bool:
    name, _, port = pattern.partition(":") if pattern.count(":") == 1 else (pattern, "", "")
    if _port(url) != (int(port) if port else DEFAULT_PORTS[url.scheme]):
        return False
    name, host = _plain(name), _plain(url.host)
    return host.endswith(name[1:]) if name.startswith("*.") else host == name


def _plain(host: str) -> str:
    return host.strip("[]").rstrip(".").lower()


def _port(url: httpx.URL) -> int:
    return url.port or DEFAULT_PORTS[url.scheme]
