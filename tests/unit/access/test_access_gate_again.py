"""access.gate: the later batches of a stream, of a caller that was let in and may count no more."""

import time

import pytest
from house import knock, signed

from embedsvc.errors import InvalidCertificateError, UnauthenticatedError
from embedsvc.keys import token


@pytest.mark.parametrize("name", ["envoy", "search", "batch"])
async def test_a_guest_is_who_it_was_and_signs_no_second_time(house, certificate, name):
    key = await house.add() if name == "envoy" else None
    metadata = signed("batch") if name == "batch" else {}
    guest = await house.gate.enter(knock(certificate(name), key, metadata))
    assert await house.gate.again(guest) == guest


async def test_a_key_that_was_revoked_since_is_refused(house, certificate):
    key = await house.add()
    guest = await house.gate.enter(knock(certificate("envoy"), key))
    await house.store.revoke_key(token.digest(key), time.time())
    await house.ring.refresh()
    with pytest.raises(UnauthenticatedError, match="was revoked"):
        await house.gate.again(guest)


async def test_a_key_that_has_expired_since_is_refused(house, certificate):
    key = await house.add()
    guest = await house.gate.enter(knock(certificate("envoy"), key))
    house.change(key, expires_at=time.time())
    with pytest.raises(UnauthenticatedError, match="has expired"):
        await house.gate.again(guest)


async def test_a_certificate_that_was_revoked_since_is_refused(house, certificate, ca, crl):
    guest = await house.gate.enter(knock(certificate("search")))
    house.revoked.replace(crl(ca, certificate("search")))
    with pytest.raises(InvalidCertificateError, match="was revoked"):
        await house.gate.again(guest)


async def test_a_key_that_was_not_used_for_so_long_that_it_was_forgotten_is_found_again(house, certificate):
    guest = await house.gate.enter(knock(certificate("envoy"), await house.add("alice")))
    house.ring._known.clear()
    assert (await house.gate.again(guest)).principal.name == "alice"


async def test_what_was_changed_of_a_key_since_counts(house, certificate):
    key = await house.add(models=("a",))
    guest = await house.gate.enter(knock(certificate("envoy"), key))
    house.change(key, models=("b",))
    assert (await house.gate.again(guest)).principal.models == {"b"}


async def test_nothing_of_it_is_a_failed_authentication(house, certificate, ca, crl):
    guest = await house.gate.enter(knock(certificate("search")))
    house.revoked.replace(crl(ca, certificate("search")))
    with pytest.raises(InvalidCertificateError):
        await house.gate.again(guest)
    assert house.failures == []
