"""access.address: whence a call comes, as something that a store and a log can take."""

import pytest

from embedsvc.access.address import forwarded, of_peer


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        ("ipv4:127.0.0.1:5000", "127.0.0.1"),
        ("ipv6:%5B::1%5D:5000", "::1"),
        ("ipv6:[2001:DB8:0:0::1]:5000", "2001:db8::1"),
        ("ipv6:%5Bfe80::1%25eth0%5D:5000", "fe80::1"),
        ("unix:/run/embedsvc.sock", ""),
        ("unix:", ""),
        ("ipv4:localhost:5000", ""),
        ("ipv4:127.0.0.1", ""),
        ("ipv4:127.0.0.1:5000\nipv4:192.0.2.1:1", ""),
        ("", ""),
    ],
)
def test_the_address_of_a_peer_is_without_its_port(peer, address):
    assert of_peer(peer) == address


@pytest.mark.parametrize(
    ("header", "address"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("10.0.0.1, 192.0.2.1", "192.0.2.1"),
        ("evil, 10.0.0.1,192.0.2.1 ", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::1"),
        ("192.0.2.1, evil", ""),
        ("192.0.2.1,", ""),
        ("192.0.2.1:443", ""),
        ("192.0.2.1\n{}", ""),
        ("=cmd|' /C calc'!A0", ""),
        ("", ""),
        (b"192.0.2.1", ""),
        (None, ""),
    ],
)
def test_of_forwarded_addresses_the_last_counts_which_the_proxy_itself_has_seen(header, address):
    assert forwarded(header) == address
