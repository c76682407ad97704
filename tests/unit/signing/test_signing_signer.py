"""signing.signer: a fresh signature for each call, with the first of its secrets."""

import re

import pytest

from embedsvc.signing.canonical import HEADERS, Claim, digest, sign
from embedsvc.signing.signer import Signer

OLD, NEW = b"old " * 8, b"new " * 8
METHOD = "/embedsvc.v1.EmbeddingService/Embed"


def test_the_first_secret_signs_the_call_at_its_time():
    signer = Signer("billing", lambda: [NEW, OLD], clock=lambda: 1764028800.999)
    metadata = signer.sign(METHOD, b"message", "Bearer emb_a")
    nonce = dict(metadata)["x-embedsvc-nonce"]
    claim = Claim(METHOD, digest(b"message"), "Bearer emb_a", "1764028800", nonce, "billing")
    assert metadata == sign(claim, NEW)
    assert [name for name, _ in metadata] == list(HEADERS)


def test_secrets_are_asked_for_each_call():
    secrets = iter([[OLD], [NEW]])
    signer = Signer("billing", lambda: next(secrets), clock=lambda: 0)
    for secret in (OLD, NEW):
        metadata = signer.sign(METHOD)
        claim = Claim(METHOD, digest(b""), "", "0", dict(metadata)["x-embedsvc-nonce"], "billing")
        assert metadata == sign(claim, secret)


def test_nonces_are_long_and_never_the_same():
    signer = Signer("billing", lambda: [NEW])
    nonces = {dict(signer.sign(METHOD))["x-embedsvc-nonce"] for _ in range(1000)}
    assert len(nonces) == 1000
    assert all(re.fullmatch("[A-Za-z0-9_-]{22}", nonce) for nonce in nonces)


@pytest.mark.parametrize(
    ("signer", "words"),
    [
        (Signer("billing", list), "no secret to sign with as 'billing'"),
        (Signer("billing", lambda: [b"short"]), "at least 32 bytes"),
        (Signer("bill\ning", lambda: [NEW]), "x-embedsvc-signer must be"),
        (Signer("", lambda: [NEW]), "x-embedsvc-signer must be"),
    ],
)
def test_what_the_server_would_refuse_is_not_signed(signer, words):
    with pytest.raises(ValueError, match=words):
        signer.sign(METHOD)


def test_a_signer_does_not_show_its_secrets():
    assert repr(Signer("billing", lambda: [NEW])).startswith("Signer(name='billing', clock=")
