"""access.gate: signatures, which cover the call and its key, are its identity's own, and count once."""

import pytest
from house import METHOD, knock, signed

from embedsvc.errors import InvalidSignatureError, UnauthenticatedError
from embedsvc.signing.canonical import SIGNATURE, SIGNER, digest


async def test_a_signature_is_let_in_where_it_must_be_there(house, certificate):
    guest = await house.gate.enter(knock(certificate("batch"), metadata=signed("batch")))
    assert guest.principal.name == "batch"
    assert house.failures == []


async def test_a_signature_and_a_key_that_it_covers_are_let_in(house, certificate):
    key = await house.add("alice")
    call = knock(certificate("search"), key, metadata=signed("search", key))
    assert (await house.gate.enter(call)).principal.name == "alice"


async def test_a_call_without_one_is_refused_where_it_must_be_there(refused, certificate):
    await refused(knock(certificate("batch")), "no_signature", InvalidSignatureError)


@pytest.mark.parametrize(("name", "reason"), [(SIGNER, "bad_signature"), (SIGNATURE, "other_signer")])
async def test_a_part_of_one_is_refused_where_it_is_optional_too(refused, certificate, name, reason):
    part = {name: signed("search")[name]}
    await refused(knock(certificate("search"), metadata=part), reason, InvalidSignatureError)


@pytest.mark.parametrize("changed", [{"digest": digest(b"another")}, {"method": METHOD + "Stream"}])
async def test_a_signature_of_another_call_is_refused(refused, certificate, changed):
    call = knock(certificate("batch"), metadata=signed("batch"), **changed)
    await refused(call, "bad_signature", InvalidSignatureError)


async def test_a_signature_that_was_made_with_another_key_is_refused(house, refused, certificate):
    mine, stolen = await house.add("mine"), await house.add("stolen")
    call = knock(certificate("search"), stolen, metadata=signed("search", mine))
    assert await refused(call, "bad_signature", InvalidSignatureError) == stolen[:12]


async def test_a_signature_that_was_used_is_refused(house, refused, certificate):
    call = knock(certificate("batch"), metadata=signed("batch"))
    assert await house.gate.enter(call)
    await refused(call, "bad_signature", InvalidSignatureError)


async def test_a_signature_of_an_identity_that_has_no_secret_is_refused(refused, certificate):
    call = knock(certificate("lister"), metadata={**signed("search"), SIGNER: "lister"})
    await refused(call, "bad_signature", InvalidSignatureError)


async def test_a_service_cannot_use_up_the_signature_of_another_that_it_has_seen(house, refused, certificate):
    seen = signed("batch")
    await refused(knock(certificate("search"), metadata=seen), "other_signer", InvalidSignatureError)
    assert await house.gate.enter(knock(certificate("batch"), metadata=seen))


async def test_a_signature_is_not_used_up_by_a_call_whose_key_is_refused(house, certificate):
    key = await house.add(revoked_at=1.0)
    call = knock(certificate("search"), key, metadata=signed("search", key))
    with pytest.raises(UnauthenticatedError, match="was revoked"):
        await house.gate.enter(call)
    assert not house.gate._verifier._nonces._signers
