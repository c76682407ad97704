"""access.forwarded: the certificate in x-forwarded-client-cert."""

from urllib.parse import quote

import pytest

from embedsvc.access.forwarded import read_certificate

HASH = "Hash=468ed33be74eee6556d90c0149c1309e9ba61d6425303443c0748a02dd8de688"


@pytest.fixture(scope="session")
def pem(certificate):
    return certificate("search")


def test_it_is_read_as_envoy_writes_it(pem):
    assert read_certificate(f'{HASH};Cert="{quote(pem, safe="")}"') == pem
    assert read_certificate(f'{HASH};Cert="{quote(pem)}";URI=spiffe://a/b') == pem


@pytest.mark.parametrize(
    "header",
    ["", HASH, 'Cert=""', "Cert=abc", b'Cert="abc"', 'XCert="abc"', f"{HASH};Subject=\"a;Cert='b'\""],
)
def test_where_there_is_none_there_is_nothing(header):
    assert read_certificate(header) == b""


def test_of_two_there_is_none(pem):
    each = f'{HASH};Cert="{quote(pem, safe="")}"'
    assert read_certificate(f"{each};{each}") == b""
    assert read_certificate(f"{each},{each}") == b""
