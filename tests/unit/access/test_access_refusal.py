"""access.refusal: why callers are not let in, in words for them and in a word for the ledger."""

import re

import pytest

from embedsvc.access import refusal
from embedsvc.access.refusal import Refusal, Why
from embedsvc.errors import (
    InvalidCertificateError,
    InvalidSignatureError,
    PermissionDeniedError,
    UnauthenticatedError,
)

REASONS = {name: why for name, why in vars(refusal).items() if isinstance(why, Why)}


def test_every_reason_is_its_own_name_in_a_word():
    assert {why.reason for why in REASONS.values()} == {name.lower() for name in REASONS}
    assert all(re.fullmatch("[a-z_]+", why.reason) for why in REASONS.values())


@pytest.mark.parametrize(
    ("error", "reasons"),
    [
        (InvalidCertificateError, "no_certificate expired_certificate revoked_certificate"),
        (UnauthenticatedError, "no_key malformed_key unknown_key revoked_key expired_key key_refused"),
        (InvalidSignatureError, "no_signature other_signer"),
        (PermissionDeniedError, "unknown_identity"),
    ],
)
def test_what_is_told_is_an_error_of_its_kind(error, reasons):
    assert {why.reason for why in REASONS.values() if why.told is error} == set(reasons.split())


def test_only_a_stranger_is_known_well_enough_to_be_forbidden():
    told = {why.told.code for why in REASONS.values() if why is not refusal.UNKNOWN_IDENTITY}
    assert told == {"UNAUTHENTICATED"}


def test_a_refusal_says_its_reason():
    assert str(Refusal(refusal.NO_KEY)) == "no_key"
    assert Refusal(refusal.NO_KEY).why is refusal.NO_KEY
