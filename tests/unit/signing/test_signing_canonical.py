"""signing.canonical: seven lines that no two claims share, and secrets that are long enough."""

import hashlib
import hmac
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedsvc.signing.canonical import (
    OPENING,
    Claim,
    canonical,
    check_secret,
    digest,
    parse_secrets,
    sign,
    signature,
)

SECRET = b"0123456789abcdef0123456789abcdef"
CLAIM = Claim(
    method="/embedsvc.v1.EmbeddingService/Embed",
    digest=digest(b"message"),
    authorization="Bearer emb_a",
    time="1764028800",
    nonce="Zm9vYmFyYmF6cXV4cXV1eA",
    signer="billing",
)


def test_seven_lines_are_signed():
    assert canonical(CLAIM).decode().split("\n") == [
        "embedsvc-v1",
        "/embedsvc.v1.EmbeddingService/Embed",
        hashlib.sha256(b"message").hexdigest(),
        hashlib.sha256(b"Bearer emb_a").hexdigest(),
        "1764028800",
        "Zm9vYmFyYmF6cXV4cXV1eA",
        "billing",
    ]


def test_the_signature_is_an_hmac_of_sha256():
    expected = hmac.new(SECRET, canonical(CLAIM), hashlib.sha256).hexdigest()
    assert signature(canonical(CLAIM), SECRET) == f"v1={expected}"


def test_a_signature_travels_as_metadata():
    metadata = dict(sign(CLAIM, SECRET))
    assert metadata.pop("x-embedsvc-signature").startswith("v1=")
    assert metadata == {
        "x-embedsvc-signer": "billing",
        "x-embedsvc-time": "1764028800",
        "x-embedsvc-nonce": "Zm9vYmFyYmF6cXV4cXV1eA",
    }


def test_a_stream_signs_the_digest_of_nothing():
    assert hashlib.sha256(b"").hexdigest() == OPENING


OTHERS = {
    "method": "/embedsvc.v1.EmbeddingService/EmbedStream",
    "digest": OPENING,
    "authorization": "",
    "time": "1764028801",
    "nonce": "AAAAAAAAAAAAAAAAAAAAAA",
    "signer": "search",
}


@pytest.mark.parametrize("field", OTHERS)
def test_every_field_counts(field):
    other = replace(CLAIM, **{field: OTHERS[field]})
    assert signature(canonical(other), SECRET) != signature(canonical(CLAIM), SECRET)


fields = st.text(alphabet="ab/.\n0-9\0é", max_size=20)
claims = st.builds(
    Claim,
    method=st.just(CLAIM.method) | fields,
    digest=st.just(OPENING) | fields,
    authorization=fields,
    time=st.just("0") | fields,
    nonce=st.just("0" * 16) | fields,
    signer=st.just("a") | fields,
)


@given(claims, claims)
def test_different_claims_are_never_signed_alike(one, other):
    try:
        texts = canonical(one), canonical(other)
    except ValueError:
        return
    assert (texts[0] == texts[1]) == (one == other)
    assert texts[0].count(b"\n") == 6


@pytest.mark.parametrize("field", ["method", "digest", "time", "nonce", "signer"])
@pytest.mark.parametrize("tail", ["\n", "\nx", "\r", " ", "\0", "é"])
def test_no_field_can_hold_a_newline_or_what_is_not_ascii(field, tail):
    with pytest.raises(ValueError, match=field):
        canonical(replace(CLAIM, **{field: getattr(CLAIM, field) + tail}))


def test_a_digest_is_lowercase():
    with pytest.raises(ValueError, match="digest"):
        canonical(replace(CLAIM, digest=CLAIM.digest.upper()))


def test_a_claim_does_not_show_its_key():
    assert "emb_a" not in repr(CLAIM)


def test_a_short_secret_signs_nothing():
    with pytest.raises(ValueError, match="at least 32 bytes, and this one has 31"):
        sign(CLAIM, SECRET[:-1])


def test_32_bytes_are_enough():
    assert check_secret(SECRET) == SECRET


def test_a_file_has_a_secret_a_line_and_the_first_signs():
    content = b"\n" + SECRET + b"\r\n\n  " + SECRET[::-1] + b"  \n"
    assert parse_secrets(content) == (SECRET, SECRET[::-1])


def test_a_file_without_a_newline_at_the_end_is_the_same_secret():
    assert parse_secrets(SECRET) == parse_secrets(SECRET + b"\n") == (SECRET,)


@pytest.mark.parametrize("content", [b"", b"\n \n"])
def test_a_file_without_a_secret_is_refused(content):
    with pytest.raises(ValueError, match="there is no signing secret"):
        parse_secrets(content)


def test_a_file_with_one_short_secret_is_refused_and_not_quoted():
    with pytest.raises(ValueError, match="at least 32 bytes") as caught:
        parse_secrets(SECRET + b"\nhunter2\n")
    assert "hunter2" not in str(caught.value)
