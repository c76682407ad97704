"""access.gate: who is let in by certificate and key, and who is not."""

import time

import pytest
from house import PATH, knock

from embedsvc.access.gate import Gate
from embedsvc.dev import pki
from embedsvc.errors import InvalidCertificateError, OverloadedError, PermissionDeniedError
from embedsvc.keys import token
from embedsvc.keys.finder import KeyFinder
from embedsvc.keys.ring import open_ring
from embedsvc.metrics import Metrics
from embedsvc.store.protocols import StoreAwayError

A_MINUTE_AGO = -1 / 1440
"""In days."""


async def test_a_key_and_a_certificate_that_needs_one_are_let_in(house, certificate):
    key = await house.add("alice")
    guest = await house.gate.enter(knock(certificate("envoy"), key))
    assert (guest.principal.name, guest.principal.key) == ("alice", token.digest(key))
    assert (guest.principal.identity.name, guest.peer.names) == ("envoy", (f"{PATH}/envoy",))
    assert house.failures == []


async def test_a_certificate_whose_key_is_optional_is_let_in_alone(house, certificate):
    guest = await house.gate.enter(knock(certificate("search")))
    assert (guest.principal.name, guest.principal.key) == ("search", "")


async def test_a_certificate_whose_key_is_optional_is_let_in_with_one(house, certificate):
    guest = await house.gate.enter(knock(certificate("search"), await house.add("alice")))
    assert guest.principal.name == "alice"


@pytest.mark.parametrize("form", ["Bearer {}", "bearer {}", "BEARER   {} "])
async def test_the_case_of_the_scheme_and_spaces_do_not_matter(house, certificate, form):
    sent = {"authorization": form.format(await house.add("alice"))}
    assert (await house.gate.enter(knock(certificate("envoy"), metadata=sent))).principal.name == "alice"


@pytest.mark.parametrize("pem", [b"", b"junk"])
async def test_a_certificate_that_cannot_be_read_is_refused(house, refused, pem):
    await refused(knock(pem, await house.add()), "no_certificate", InvalidCertificateError)


async def test_a_certificate_that_has_expired_since_the_connection_was_made_is_refused(
    house, refused, ca, monkeypatch
):
    monkeypatch.setattr(pki, "LEAF_DAYS", A_MINUTE_AGO)
    call = knock(pki.make_client(ca, "envoy").certificate_pem, await house.add())
    await refused(call, "expired_certificate", InvalidCertificateError)


async def test_a_certificate_that_is_revoked_while_the_server_runs_is_refused_from_then_on(
    house, refused, certificate, ca, crl
):
    call = knock(certificate("envoy"), await house.add())
    assert await house.gate.enter(call)
    house.revoked.replace(crl(ca, certificate("envoy")))
    await refused(call, "revoked_certificate", InvalidCertificateError)


async def test_a_certificate_whose_names_are_nobody_s_is_refused(house, refused, certificate):
    call = knock(certificate("mallory"), await house.add())
    await refused(call, "unknown_identity", PermissionDeniedError)


async def test_a_call_without_a_key_is_refused_where_there_must_be_one(refused, certificate):
    assert await refused(knock(certificate("envoy")), "no_key") == ""


@pytest.mark.parametrize("name", ["envoy", "search"])
async def test_a_key_that_nobody_knows_is_refused_where_a_key_is_optional_too(refused, certificate, name):
    key = token.generate()
    assert await refused(knock(certificate(name), key), "unknown_key") == key[:12]


async def test_a_key_that_was_revoked_is_refused(house, refused, certificate):
    key = await house.add(revoked_at=time.time() - 1)
    assert await refused(knock(certificate("envoy"), key), "revoked_key") == key[:12]


async def test_a_key_that_has_expired_is_refused(house, refused, certificate):
    await refused(knock(certificate("envoy"), await house.add(expires_at=time.time())), "expired_key")


async def test_a_key_that_has_a_successor_is_let_in_until_it_expires(house, certificate):
    key = await house.add(successor="b" * 64, expires_at=time.time() + 60)
    assert await house.gate.enter(knock(certificate("envoy"), key))


async def test_a_key_is_refused_where_there_must_be_none_though_it_is_good(house, refused, certificate):
    await refused(knock(certificate("batch"), await house.add()), "key_refused")


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer ",
        "Bearer emb_short",
        "Bearer hunter2",
        "Basic emb_" + "a" * 43,
        "emb_" + "a" * 43,
        "Bearer emb_" + "a" * 43 + "\n{}",
        "Bearer emb_" + "a" * 44,
        "Bearer emb_" + "é" * 43,
        b"Bearer emb_" + b"a" * 43,
    ],
)
async def test_what_is_no_key_is_refused_and_no_part_of_it_is_written_down(refused, certificate, header):
    for name in ("envoy", "search"):
        call = knock(certificate(name), metadata={"authorization": header})
        assert await refused(call, "malformed_key") == ""


async def test_a_key_that_cannot_be_looked_up_is_no_failure_of_the_caller(house, certificate):
    class Away:
        async def find_keys(self, _digests):
            raise StoreAwayError("no")

    async with open_ring(Away(), Metrics()) as ring:
        parts = house.gate._policy, KeyFinder(None, ring), house.gate._verifier, house.gate._holdings
        with pytest.raises(OverloadedError, match="could not be looked up"):
            await Gate(*parts, house.ledger).enter(knock(certificate("envoy"), token.generate()))
    assert house.failures == []
