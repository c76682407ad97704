"""access.gate: whence a refused call came, and that guessing makes counts larger and not rows more."""

import pytest
from house import ADDRESS, knock, open_house

from embedsvc.errors import InvalidSignatureError, PermissionDeniedError, UnauthenticatedError
from embedsvc.keys import token

FORWARDED = "x-forwarded-for"


@pytest.mark.parametrize(
    ("header", "address"),
    [
        ("198.51.100.9", "198.51.100.9"),
        ("10.0.0.1, 198.51.100.9", "198.51.100.9"),
        ("198.51.100.9, evil", ADDRESS),
        ("", ADDRESS),
    ],
)
async def test_a_proxy_says_who_called_where_it_says_an_address(refused, certificate, header, address):
    await refused(knock(certificate("envoy"), metadata={FORWARDED: header}), "no_key", address=address)


async def test_a_proxy_that_says_nothing_is_the_caller(refused, certificate):
    await refused(knock(certificate("envoy")), "no_key", address=ADDRESS)


async def test_whoever_is_no_proxy_speaks_for_nobody_else(refused, certificate):
    call = knock(certificate("batch"), metadata={FORWARDED: "198.51.100.9"})
    await refused(call, "no_signature", InvalidSignatureError, ADDRESS)


async def test_whoever_is_nobody_speaks_for_nobody_else(refused, certificate):
    call = knock(certificate("mallory"), metadata={FORWARDED: "198.51.100.9"})
    await refused(call, "unknown_identity", PermissionDeniedError, ADDRESS)


async def test_an_address_that_is_none_is_empty(refused, certificate):
    await refused(knock(certificate("envoy"), peer=lambda: "unix:/run/x"), "no_key", address="")


async def test_failures_that_are_alike_are_one_row_of_the_store(tmp_path, ca, crl, certificate):
    path = tmp_path / "y.db"
    key = token.generate()
    async with open_house(path, crl(ca)) as house:
        for _ in range(300):
            with pytest.raises(UnauthenticatedError):
                await house.gate.enter(knock(certificate("envoy"), key))
    async with open_house(path, crl(ca)) as house:
        (row,) = await house.store.failures(0)
    assert (row.prefix, row.reason, row.address, row.count) == (key[:12], "unknown_key", ADDRESS, 300)
