"""access.gate: a caller of Envoy's gRPC listener is who its own certificate says, not Envoy."""

from urllib.parse import quote

import pytest
from house import ADDRESS, knock, signed

from embedsvc.errors import InvalidCertificateError, InvalidSignatureError, PermissionDeniedError

CLIENT = "198.51.100.9"


@pytest.fixture
def through(certificate):
    """A call that Envoy, or somebody else, has brought."""

    def call(name, key=None, by="envoy", **metadata):
        header = f'Hash=00;Cert="{quote(certificate(name), safe="")}"'
        sent = {"x-forwarded-client-cert": header, "x-forwarded-for": CLIENT, **metadata}
        return knock(certificate(by), key, metadata=sent)

    return call


async def test_whoever_calls_through_envoy_is_its_own_identity(house, through):
    guest = await house.gate.enter(through("search"))
    assert (guest.principal.name, guest.principal.identity.name) == ("search", "search")
    assert guest.peer.names == ("spiffe://embedsvc.internal/search",)


async def test_and_may_what_its_own_policy_allows(house, through):
    guest = await house.gate.enter(through("lister"))
    assert guest.principal.calls == {"models"}


async def test_a_key_comes_with_the_identity_whose_it_is(house, through):
    guest = await house.gate.enter(through("search", await house.add("alice")))
    assert (guest.principal.name, guest.principal.identity.name) == ("alice", "search")


async def test_a_signature_is_that_of_the_caller(house, refused, through):
    guest = await house.gate.enter(through("batch", **signed("batch")))
    assert guest.principal.identity.name == "batch"
    await refused(through("search", **signed("batch")), "other_signer", InvalidSignatureError, CLIENT)


async def test_a_caller_that_is_in_no_policy_is_refused_and_its_address_written_down(refused, through):
    await refused(through("mallory"), "unknown_identity", PermissionDeniedError, CLIENT)


async def test_a_revoked_certificate_is_refused_through_envoy_too(house, ca, crl, certificate, through):
    house.revoked.replace(crl(ca, certificate("search")))
    with pytest.raises(InvalidCertificateError):
        await house.gate.enter(through("search"))
    assert house.failures == [("", "revoked_certificate", CLIENT)]


@pytest.mark.parametrize("header", ["", "Hash=00", 'Cert="nonsense"', b'Cert="x"'])
async def test_what_cannot_be_read_is_nobody_and_not_envoy(house, refused, certificate, header):
    call = knock(certificate("envoy"), await house.add(), metadata={"x-forwarded-client-cert": header})
    await refused(call, "no_certificate", InvalidCertificateError)


async def test_nobody_but_envoy_is_believed(house, through):
    guest = await house.gate.enter(through("envoy", by="search"))
    assert guest.principal.identity.name == "search"


async def test_nobody_but_envoy_has_its_callers_certificates_looked_at(refused, through):
    await refused(through("search", by="mallory"), "unknown_identity", PermissionDeniedError, ADDRESS)
