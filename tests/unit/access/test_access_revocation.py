"""access.revocation: certificates that count no more, from lists of one CA or several."""

import pytest

from embedsvc.access.peer import read_peer
from embedsvc.access.revocation import is_revoked, parse
from embedsvc.dev import pki


@pytest.fixture(scope="module")
def other():
    return pki.make_ca("another CA")


def test_a_certificate_that_is_in_the_list_is_revoked_and_another_is_not(ca, certificate, crl):
    revoked = parse(crl(ca, certificate("mallory"), certificate("trudy")))
    assert is_revoked(read_peer(certificate("mallory")), revoked)
    assert is_revoked(read_peer(certificate("trudy")), revoked)
    assert not is_revoked(read_peer(certificate("alice")), revoked)


def test_a_list_of_another_ca_says_nothing_of_a_certificate_with_the_same_number(certificate, crl, other):
    revoked = parse(crl(other, certificate("mallory")))
    assert not is_revoked(read_peer(certificate("mallory")), revoked)


def test_a_file_may_have_lists_of_several_cas_and_text_between_them(ca, certificate, crl, other):
    theirs = pki.make_client(other).certificate_pem
    lists = crl(ca, certificate("mallory")), crl(other, theirs)
    revoked = parse(b"# ours\n" + lists[0] + b"\n# theirs\n" + lists[1])
    assert is_revoked(read_peer(certificate("mallory")), revoked)
    assert is_revoked(read_peer(theirs), revoked)


def test_an_empty_list_revokes_nothing(ca, crl):
    assert parse(crl(ca)) == frozenset()


def test_a_file_without_a_list_is_a_mistake_and_not_an_empty_list(ca):
    for content in (b"", b"junk", ca.certificate_pem):
        with pytest.raises(ValueError, match="no revocation list in PEM"):
            parse(content)


def test_one_list_that_does_not_parse_spoils_the_file(ca, crl):
    whole = crl(ca)
    with pytest.raises(ValueError, match=r"PEM|pem|asn1|base64|malformed"):
        parse(whole + whole.replace(b"MII", b"!!!").replace(b"MI", b"!!"))
