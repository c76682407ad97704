"""access.policy: the first identity that has one of a certificate's names."""

import pytest
from pydantic import ValidationError

from embedsvc.access.policy import find_identity
from embedsvc.config import IdentitySettings

SEARCH, TEAMS, ANYBODY = (
    IdentitySettings(name="search", match=("spiffe://internal/search", "search.internal")),
    IdentitySettings(name="teams", match=("spiffe://internal/team/*",)),
    IdentitySettings(name="any", match=("*",)),
)


def found(names, identities=(SEARCH, TEAMS)):
    identity = find_identity(identities, names)
    return identity and identity.name


@pytest.mark.parametrize(
    ("names", "identity"),
    [
        (["spiffe://internal/search"], "search"),
        (["other.internal", "search.internal"], "search"),
        (["spiffe://internal/team/a"], "teams"),
        (["spiffe://internal/team/"], "teams"),
        (["spiffe://internal/team/a", "search.internal"], "search"),
    ],
)
def test_one_name_is_enough_and_the_first_identity_counts(names, identity):
    assert found(names) == identity


@pytest.mark.parametrize(
    "name",
    [
        "spiffe://internal/search/more",
        "spiffe://internal/searc",
        "spiffe://internal/Search",
        "spiffe://evil/spiffe://internal/search",
        "sub.search.internal",
        "spiffe://internal/team",
        "spiffe://internal/teams/a",
        "https://evil/spiffe://internal/team/a",
        "*",
        "",
    ],
)
def test_what_only_looks_like_a_name_is_none(name):
    assert found([name]) is None


def test_a_star_alone_is_every_certificate_one_without_names_too():
    assert found([], [SEARCH, ANYBODY]) == "any"
    assert found([], [SEARCH, TEAMS]) is None


@pytest.mark.parametrize("pattern", ["*.internal", "spiffe://a/*/b", "", "**"])
def test_a_star_that_is_not_at_the_end_stops_the_start(pattern):
    with pytest.raises(ValidationError, match="only be at the end"):
        IdentitySettings(name="wild", match=(pattern,))
