"""Addresses that lead inside are known for what they are, however they are written."""

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.http.addresses import is_odd_spelling, literal, why_internal

INSIDE = [
    "0.0.0.0",
    "10.0.0.1",
    "100.100.100.200",
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.169.254",
    "172.31.255.255",
    "192.0.0.192",
    "192.168.1.1",
    "198.19.255.255",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:0:127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::169.254.169.254",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:0808:0808::1",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
]
OUTSIDE = ["8.8.8.8", "1.1.1.1", "172.32.0.1", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"]


@pytest.mark.parametrize("address", INSIDE)
def test_an_address_that_leads_inside_says_why(address: str) -> None:
    assert why_internal(ip_address(address))


@pytest.mark.parametrize("address", OUTSIDE)
def test_a_public_address_is_let_through(address: str) -> None:
    assert why_internal(ip_address(address)) is None


@given(st.ip_addresses())
def test_whatever_python_calls_not_global_is_inside(address: IPv4Address | IPv6Address) -> None:
    """Ours is stricter than the standard library's list, whichever release that is from."""
    if not address.is_global or address.is_multicast or address.is_reserved:
        carries_public_v4 = isinstance(address, IPv6Address) and address in CARRIERS
        assert carries_public_v4 or why_internal(address)


class _Carriers:
    def __contains__(self, address: IPv6Address) -> bool:
        return int(address) >> 32 in (0xFFFF, 0x64FF9B << 64)


CARRIERS = _Carriers()


@given(st.ip_addresses(v=4))
def test_an_ipv6_address_that_carries_an_ipv4_one_is_judged_by_it(address: IPv4Address) -> None:
    expected = why_internal(address)
    for prefix in (0xFFFF << 32, 0x64FF9B << 96):
        assert why_internal(IPv6Address(prefix | int(address))) == expected


@given(st.ip_addresses(v=4), st.integers(0, 2**80 - 1))
def test_no_6to4_address_is_let_through(address: IPv4Address, rest: int) -> None:
    assert why_internal(IPv6Address(0x2002 << 112 | int(address) << 80 | rest))


@given(st.ip_addresses(v=4))
def test_only_one_spelling_of_an_ipv4_address_is_taken(address: IPv4Address) -> None:
    octets = address.packed
    others = [
        str(int(address)),
        hex(int(address)),
        f"{octets[0]}.{int(address) & 0xFFFFFF}",
        ".".join(f"0{octet:o}" for octet in octets),
        ".".join(map(hex, octets)),
    ]

    assert literal(str(address)) == address
    assert not is_odd_spelling(str(address))
    assert all(is_odd_spelling(other) for other in others)


@pytest.mark.parametrize(
    "host", ["example.com", "v2.api.example", "1.example.com", "x0.example", "2606:4700::1"]
)
def test_names_are_not_numbers(host: str) -> None:
    assert not is_odd_spelling(host)
