"""signing.verifier: who signed, within five minutes, and once only."""

import hmac
from dataclasses import dataclass, replace

import pytest

from embedsvc.errors import OverloadedError, UnauthenticatedError
from embedsvc.signing import canonical
from embedsvc.signing.canonical import FORMS, HEADERS, OPENING, digest
from embedsvc.signing.signer import Signer
from embedsvc.signing.verifier import Signed, Verifier, is_signed

METHOD = "/embedsvc.v1.EmbeddingService/Embed"
SECRET, OLD, STRANGE = b"a secret " * 4, b"an old secret " * 4, b"a strange secret " * 4
NOW = 1_764_028_800
WINDOW = 300
MESSAGE = b"message"


@dataclass
class Clock:
    now: float = NOW

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def verifier(clock):
    return Verifier({"billing": lambda: [SECRET, OLD], "search": lambda: [STRANGE]}, clock)


def metadata(*, name="billing", secret=SECRET, at=NOW, key="Bearer emb_a", message=MESSAGE):
    """What a call has when this signer has signed it."""
    signer = Signer(name, lambda: [secret], lambda: at)
    return {"authorization": key, **dict(signer.sign(METHOD, message, key))}


def signed(given=None, **options):
    return Signed.of(METHOD, digest(MESSAGE), metadata(**options) if given is None else given)


def refused(verifier, call):
    with pytest.raises(UnauthenticatedError) as caught:
        verifier.verify(call)
    return caught.value.message


def test_the_signer_of_a_good_signature_is_named_whichever_of_its_secrets_signed(verifier):
    assert verifier.verify(signed()) == verifier.verify(signed(secret=OLD)) == "billing"
    assert verifier.verify(signed(name="search", secret=STRANGE)) == "search"


def test_secrets_are_asked_for_each_call(clock):
    secrets = [OLD]
    verifier = Verifier({"billing": lambda: secrets}, clock)
    assert verifier.verify(signed(secret=OLD)) == "billing"
    secrets[:] = [SECRET]
    refused(verifier, signed(secret=OLD))
    assert verifier.verify(signed()) == "billing"


def test_a_stream_is_verified_by_its_opening(verifier):
    call = Signed.of(METHOD, OPENING, metadata(message=b""))
    assert verifier.verify(call) == "billing"


def test_a_call_without_an_api_key_is_verified(verifier):
    given = metadata(key="")
    del given["authorization"]
    assert verifier.verify(signed(given)) == "billing"


@pytest.mark.parametrize("header", HEADERS)
def test_what_is_missing_is_named(verifier, header):
    given = metadata()
    for absent in ("", None, b"bytes"):
        message = refused(verifier, signed({**given, header: absent}))
        assert message == f"this call must be signed, and has no {header}"
    del given[header]
    assert refused(verifier, signed(given)) == f"this call must be signed, and has no {header}"


def test_a_call_that_is_not_signed_is_told_all_that_it_needs(verifier):
    message = refused(verifier, signed({}))
    assert message == f"this call must be signed, and has no {', '.join(HEADERS)}"


@pytest.mark.parametrize("header", HEADERS)
def test_a_call_with_a_part_of_a_signature_counts_as_signed(header):
    assert is_signed({header: ""})
    assert not is_signed({"authorization": "Bearer emb_a"})


MALFORMED = [
    ("x-embedsvc-signer", ["a b", "a\nb", "a" * 129, "ключ"]),
    ("x-embedsvc-time", ["now", "1e9", f"{NOW}.0", f"+{NOW}", f" {NOW}", f"{NOW}\n", "1" * 13, "\u0661"]),
    ("x-embedsvc-nonce", ["short", "a" * 15, "a" * 65, "a" * 16 + "\n", "a" * 16 + "=", "a" * 16 + "é"]),
]


@pytest.mark.parametrize(
    ("header", "value"), [(header, value) for header, values in MALFORMED for value in values]
)
def test_what_is_malformed_is_named(verifier, header, value):
    message = refused(verifier, signed({**metadata(), header: value}))
    assert message == f"{header} must be {FORMS[header][1]}"


SIGNATURES = [
    "v1=",
    "v1",
    "v2={}",
    "{}",
    "v1={}0",
    "v1={}\n",
    "V1={}",
    "v1={}é",
    "v1=" + "é" * 64,
    "v1=" + "A" * 64,
]


@pytest.mark.parametrize("form", SIGNATURES)
def test_a_signature_of_another_form_is_told_the_right_one(verifier, form):
    given = metadata()
    given["x-embedsvc-signature"] = form.format(given["x-embedsvc-signature"].removeprefix("v1="))
    assert refused(verifier, signed(given)) == (
        "x-embedsvc-signature must be v1= and 64 digits of lowercase hexadecimal"
    )


ALTERED = [
    {"method": "/embedsvc.v1.EmbeddingService/EmbedStream"},
    {"digest": digest(b"another message")},
    {"digest": OPENING},
    {"authorization": "Bearer emb_b"},
    {"authorization": "bearer emb_a"},
    {"authorization": ""},
    {"time": str(NOW + 1)},
    {"nonce": "AAAAAAAAAAAAAAAAAAAAAA"},
    {"signer": "search"},
]


@pytest.mark.parametrize("altered", ALTERED, ids=str)
def test_whatever_is_altered_makes_the_signature_wrong(verifier, altered):
    call = signed()
    forged = replace(call, claim=replace(call.claim, **altered))
    assert "not a signature of this request" in refused(verifier, forged)
    assert verifier.verify(call) == "billing"  # and nothing of it was used up


def test_an_unknown_signer_and_a_wrong_signature_are_told_the_same(verifier):
    unknown = refused(verifier, signed(name="nobody"))
    wrong = refused(verifier, signed(secret=STRANGE))
    assert unknown == wrong


def test_an_unknown_signer_costs_an_hmac_like_a_known_one(clock, monkeypatch):
    verifier = Verifier({"billing": lambda: [SECRET], "gone": list}, clock)
    calls = {name: signed(name=name, secret=STRANGE) for name in ("billing", "gone", "nobody")}
    made, make = [], hmac.digest
    monkeypatch.setattr(canonical.hmac, "digest", lambda *given: made.append(given) or make(*given))
    for number, call in enumerate(calls.values(), start=1):
        refused(verifier, call)
        assert len(made) == number


def test_signatures_are_compared_in_constant_time(verifier, monkeypatch):
    compared, compare = [], hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", lambda *two: compared.append(two) or compare(*two))
    verifier.verify(signed(secret=OLD))
    assert len(compared) == 2


def test_a_short_secret_of_the_servers_own_lets_nobody_in(clock):
    verifier = Verifier({"billing": lambda: [b""]}, clock)
    with pytest.raises(ValueError, match="at least 32 bytes"):
        verifier.verify(signed())


@pytest.mark.parametrize("seconds", [-WINDOW, WINDOW, 0])
def test_five_minutes_to_either_side_are_accepted(verifier, seconds):
    assert verifier.verify(signed(at=NOW + seconds)) == "billing"


def test_at_the_very_edge_one_signature_does_not_shut_out_another(verifier):
    for _ in range(3):
        assert verifier.verify(signed(at=NOW - WINDOW)) == "billing"


@pytest.mark.parametrize("seconds", [-WINDOW - 1, WINDOW + 1, -NOW, NOW])
def test_more_than_five_minutes_are_not_and_both_times_are_told(verifier, seconds):
    message = refused(verifier, signed(at=NOW + seconds))
    assert message == (
        f"x-embedsvc-time is {NOW + seconds}, which is more than 300 seconds from the server's time, {NOW}"
    )


def test_a_part_of_a_second_too_late_is_too_late(verifier, clock):
    clock.now = NOW + WINDOW + 0.001
    refused(verifier, signed())


def test_a_signature_works_once(verifier):
    call = signed()
    verifier.verify(call)
    expected = "x-embedsvc-nonce was used before: every call needs a signature of its own"
    assert [refused(verifier, call) for _ in range(3)] == [expected] * 3


@pytest.mark.parametrize("ahead", [-WINDOW, -10, 0, 10, WINDOW])
def test_it_works_once_for_as_long_as_its_time_is_accepted(verifier, clock, ahead):
    call = signed(at=NOW + ahead)
    verifier.verify(call)
    for clock.now in (NOW, NOW + ahead + WINDOW - 0.5, NOW + ahead + WINDOW):
        for number in range(5):  # others come and go
            verifier.verify(signed(at=int(clock.now) + number))
        assert "used before" in refused(verifier, call)
    clock.now = NOW + ahead + WINDOW + 0.5
    assert "more than 300 seconds" in refused(verifier, call)


def test_a_nonce_works_once_whatever_else_is_signed_with_it(verifier):
    call = signed()
    verifier.verify(call)
    again = replace(call.claim, time=str(NOW + 1), digest=OPENING)
    genuine = Signed(again, canonical.signature(canonical.canonical(again), SECRET))
    assert "used before" in refused(verifier, genuine)


def test_signers_do_not_share_nonces(verifier):
    call = signed()
    verifier.verify(call)
    claim = replace(call.claim, signer="search")
    assert (
        verifier.verify(Signed(claim, canonical.signature(canonical.canonical(claim), STRANGE))) == "search"
    )


def test_a_wrong_signature_uses_no_nonce_up(verifier):
    call = signed()
    for _ in range(3):
        refused(verifier, replace(call, signature="v1=" + "0" * 64))
    assert verifier.verify(call) == "billing"


def test_strangers_fill_no_memory(clock):
    verifier = Verifier({"billing": lambda: [SECRET]}, clock, capacity=1)
    for _ in range(100):
        refused(verifier, signed(secret=STRANGE))
        refused(verifier, signed(name="nobody"))
    assert verifier.verify(signed()) == "billing"


def test_a_full_memory_refuses_and_forgets_nothing(clock):
    verifier = Verifier({"billing": lambda: [SECRET], "search": lambda: [STRANGE]}, clock, capacity=3)
    calls = [signed(at=NOW + number) for number in range(4)]
    for call in calls[:3]:
        verifier.verify(call)
    with pytest.raises(OverloadedError, match="3 signatures that are too new to be forgotten"):
        verifier.verify(calls[3])
    for call in calls[:3]:
        assert "used before" in refused(verifier, call)
    assert verifier.verify(signed(name="search", secret=STRANGE)) == "search"
    clock.now = NOW + WINDOW + 1
    assert verifier.verify(calls[3]) == "billing"  # the first is too old by now, and makes room


def test_a_clock_that_is_set_back_brings_no_signature_back(verifier, clock):
    call = signed()
    verifier.verify(call)
    clock.now = NOW + 2 * WINDOW
    verifier.verify(signed(at=clock.now))
    clock.now = NOW
    assert "used before" in refused(verifier, call)
    assert verifier.verify(signed(at=NOW + 1)) == "billing"


def test_the_window_can_be_another(clock):
    verifier = Verifier({"billing": lambda: [SECRET]}, clock, window=10)
    assert "more than 10 seconds" in refused(verifier, signed(at=NOW - 11))


def test_processes_that_share_a_folder_accept_a_signature_once_between_them(clock, tmp_path):
    one, other = (Verifier({"billing": lambda: [SECRET]}, clock, folder=tmp_path) for _ in range(2))
    call = signed()
    one.verify(call)
    assert "used before" in refused(other, call)
    late = Verifier({"billing": lambda: [SECRET]}, clock, folder=tmp_path)
    late.upkeep()
    assert "used before" in refused(late, call)
