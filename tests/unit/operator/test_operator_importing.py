"""operator.importing: keys that were made elsewhere, by their digest or as they are."""

import time

import pytest

from embedsvc.errors import ConfigurationError
from embedsvc.keys import token
from embedsvc.operator.importing import read

KEY = "emb_" + "k" * 43
DIGEST = token.digest(KEY)
OTHER = "0123456789abcdef" * 4


def imported(text):
    return [(key.digest, key.prefix, key.name) for key in read(text)]


@pytest.mark.parametrize("line", ["{} alice b", "  {}   alice b  ", "{}\talice b", "{} \t alice b\r"])
def test_a_line_is_a_digest_or_a_key_a_space_and_a_name(line):
    assert imported(line.format(DIGEST)) == [(DIGEST, "emb_", "alice b")]
    assert imported(line.format(DIGEST.upper())) == [(DIGEST, "emb_", "alice b")]
    assert imported(line.format(KEY)) == [(DIGEST, KEY[:12], "alice b")]


def test_comments_and_empty_lines_are_passed_over():
    assert imported(f"# keys of the old service\n\n{DIGEST} alice\n  \n# {KEY} bob\n") == [
        (DIGEST, "emb_", "alice")
    ]
    assert read("") == []


def test_a_key_that_is_there_twice_is_one():
    assert imported(f"{DIGEST} alice\n{OTHER} bob\n{KEY} alice again\n") == [
        (DIGEST, KEY[:12], "alice again"),
        (OTHER, "emb_", "bob"),
    ]


def test_an_imported_key_is_new_and_may_do_everything():
    (key,) = read(f"{DIGEST} alice")
    assert abs(key.created_at - time.time()) < 5
    assert (key.owner, key.models, key.calls, key.expires_at, key.revoked_at) == ("", (), (), None, None)


@pytest.mark.parametrize("line", ["a", DIGEST, KEY, f"a {DIGEST}", f"{DIGEST}0 a", f"{KEY}x a"])
def test_a_line_of_another_form_is_named_and_not_repeated(line):
    with pytest.raises(ConfigurationError, match=r"^import: line 2 must be a SHA-256 in hexadecimal") as told:
        read(f"{OTHER} bob\n{line}\n")
    assert DIGEST[:16] not in str(told.value)
    assert KEY[4:] not in str(told.value)


@pytest.mark.parametrize(
    "name", ["=1+1", "+1", "-1", "@SUM(1)", "[red]a", "a\x1b[31m", "a,b", '"a"', "x" * 65, KEY, f"a {KEY}"]
)
def test_a_name_that_could_not_be_given_to_a_key_cannot_be_imported(name):
    with pytest.raises(ConfigurationError, match=f"^import: (the name of {DIGEST[:16]}|line 1) must") as told:
        read(f"{DIGEST} {name}")
    assert name not in str(told.value)


def test_a_line_that_a_name_would_break_is_two_lines():
    with pytest.raises(ConfigurationError, match="line 2"):
        read(f"{DIGEST} alice\u2028{OTHER}")
