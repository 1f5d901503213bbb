"""Which addresses are the public internet, and which lead back inside.

The list is ours rather than `ipaddress.is_global`: that one changes with the Python release, and calls global
what a NAT64 or 6to4 gateway sends to a private network. From the IANA special-purpose registries.
"""

import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

Address = IPv4Address | IPv6Address

SPECIAL_V4 = {
    IPv4Network(network): meaning
    for network, meaning in {
        "0.0.0.0/8": "this network",
        "10.0.0.0/8": "private",
        "100.64.0.0/10": "shared by carriers, and metadata in some clouds",
        "127.0.0.0/8": "loopback",
        "168.63.129.16/32": "platform service of a cloud",
        "169.254.0.0/16": "link-local, and metadata in most clouds",
        "172.16.0.0/12": "private",
        "192.0.0.0/24": "protocol assignments",
        "192.0.2.0/24": "documentation",
        "192.88.99.0/24": "6to4 relay",
        "192.168.0.0/16": "private",
        "198.18.0.0/15": "benchmarking",
        "198.51.100.0/24": "documentation",
        "203.0.113.0/24": "documentation",
        "224.0.0.0/4": "multicast",
        "240.0.0.0/4": "reserved",
    }.items()
}
SPECIAL_V6 = {
    IPv6Network(network): meaning
    for network, meaning in {
        "2001::/23": "protocol assignments, Teredo among them",
        "2001:db8::/32": "documentation",
        "2002::/16": "6to4",
        "3fff::/20": "documentation",
    }.items()
}
GLOBAL_UNICAST = IPv6Network("2000::/3")
CARRIES_V4 = (IPv6Network("::ffff:0:0/96"), IPv6Network("64:ff9b::/96"))
"""IPv4-mapped and NAT64: what counts is the IPv4 address in the last 32 bits."""

NUMBER = re.compile(r"0x[0-9a-f]*|[0-9]+", re.IGNORECASE)


def why_internal(address: Address) -> str | None:
    """What makes an address unfit for requests to the outside; None for a public one."""
    if isinstance(address, IPv4Address):
        return next((meaning for network, meaning in SPECIAL_V4.items() if address in network), None)
    if address.scope_id is not None:
        return "link-local"
    if any(address in network for network in CARRIES_V4):
        return why_internal(IPv4Address(int(address) & 0xFFFFFFFF))
    if address not in GLOBAL_UNICAST:
        return "not global unicast"
    return next((meaning for network, meaning in SPECIAL_V6.items() if address in network), None)


def literal(host: str) -> Address | None:
    """The address that a host name spells in the one usual way, or None."""
    try:
        return ip_address(host.strip("[]"))
    except ValueError:
        return None


def is_odd_spelling(host: str) -> bool:
    """Whether a host is a number that C libraries read as an address: 2130706433, 0177.1, 0x7f.0.0.1."""
    return literal(host) is None and NUMBER.fullmatch(host.rstrip(".").rpartition(".")[2]) is not None
