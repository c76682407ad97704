"""keys.finder: the keys of a secret beside those of the store."""

from types import SimpleNamespace

import pytest

from embedsvc.keys import finder, token

KEY, OTHER = token.digest("emb_a"), token.digest("emb_b")


def test_a_line_is_a_digest_and_a_name():
    parsed = finder.parse(f"# operators\n\n{KEY} alice\n  {OTHER.upper()}\tbob the builder \n".encode())
    assert {digest: key.name for digest, key in parsed.items()} == {KEY: "alice", OTHER: "bob the builder"}


@pytest.mark.parametrize(
    "line", ["zz not-hexadecimal", "ab too-short", KEY, f"alice {KEY}", f"{KEY}00 alice"]
)
def test_a_line_of_another_form_is_named(line):
    with pytest.raises(ValueError, match="line 3 must be a SHA-256 in hexadecimal"):
        finder.parse(f"# operators\n{OTHER} bob\n{line}\n".encode())


def test_what_is_not_text_is_refused():
    with pytest.raises(ValueError, match="utf-8"):
        finder.parse(b"\xff\xfe\x00")


class Ring:
    """A store's keys, that says when it is asked."""

    def __init__(self):
        self.asked = []

    def current(self, digest):
        return None

    async def find(self, digest):
        self.asked.append(digest)


async def test_a_key_of_the_secret_is_found_without_the_store_and_any_other_is_asked_for():
    ring = Ring()
    keys = finder.KeyFinder(SimpleNamespace(meaning=finder.parse(f"{KEY} alice".encode())), ring)
    assert (await keys.find(KEY)).name == "alice"
    assert (await keys.find(OTHER)) is None
    assert ring.asked == [OTHER]
    assert keys.current(OTHER) is None
