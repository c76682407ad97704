"""access.holdings: what is a caller's, out of its key, its certificate's identity and the configuration."""

from dataclasses import replace

import pytest

from embedsvc.access.holdings import Holdings
from embedsvc.config import IdentitySettings, InjectionSettings, RateSettings, Settings, StoreSettings
from embedsvc.limits.limiter import open_limiter
from embedsvc.metrics import Metrics
from embedsvc.secret.reference import SecretRef
from embedsvc.store.records import InjectionPolicy, KeyRecord, Limits
from embedsvc.store.sqlite.store import open_sqlite

IDENTITY = IdentitySettings(name="search", match=("*",))
KEY = KeyRecord("a" * 64, "emb_aaaaaaaa", "alice", created_at=1.0)
CONVEX = StoreSettings(kind="convex", admin_key=SecretRef("file", "key"))
KEY_LIMITS, IDENTITY_LIMITS = f"key:{'a' * 32}", "identity:search"


@pytest.fixture
async def limiter(tmp_path):
    async with open_sqlite(tmp_path / "x.db") as store, open_limiter(store, Metrics().limits) as opened:
        yield opened


@pytest.fixture
def of(limiter):
    """Makes the principal of a key and an identity, under some settings."""

    def make(key=KEY, identity=IDENTITY, **sections):
        return Holdings(Settings(**sections), limiter).of(key, identity)

    return make


def limits(buckets):
    return [(bucket.limit.name, bucket.limit.units, bucket.limit.period) for bucket in buckets]


def test_a_caller_is_called_by_its_key_and_without_one_by_its_identity(of):
    assert (of().name, of().key, of().identity) == ("alice", KEY.digest, IDENTITY)
    assert (of(None).name, of(None).key) == ("search", "")


def test_the_same_key_and_identity_are_the_same_principal_until_the_record_changes(limiter):
    holdings = Holdings(Settings(), limiter)
    first = holdings.of(KEY, IDENTITY)
    assert holdings.of(KEY, IDENTITY) is first
    assert holdings.of(KEY, IdentitySettings(name="other", match=("*",))) is not first
    assert holdings.of(None, IDENTITY) is holdings.of(None, IDENTITY) is not first
    changed = holdings.of(replace(KEY, models=("m",)), IDENTITY)
    assert (changed.models, first.models) == ({"m"}, None)


def test_a_changed_record_keeps_what_was_used_of_a_limit_that_is_the_same(limiter):
    holdings = Holdings(Settings(), limiter)
    key = replace(KEY, limits=Limits(requests_per_minute=5, tokens_per_minute=50))
    first = holdings.of(key, IDENTITY)
    more = replace(key, used_at=2.0, limits=Limits(requests_per_minute=5, tokens_per_minute=60))
    second = holdings.of(more, IDENTITY)
    assert second.requests[0] is first.requests[0]
    assert second.tokens[0] is not first.tokens[0]


@pytest.mark.parametrize(
    ("key", "identity", "both"),
    [
        ((), ("embed", "stream", "models"), {"embed", "stream", "models"}),
        (("embed",), ("embed", "stream", "models"), {"embed"}),
        ((), ("models",), {"models"}),
        (("embed", "models"), ("models", "stream"), {"models"}),
        (("embed",), ("models",), set()),
    ],
)
def test_what_may_be_called_is_what_key_and_identity_both_allow(of, key, identity, both):
    principal = of(replace(KEY, calls=key), IDENTITY.model_copy(update={"calls": identity}))
    assert principal.calls == both


def test_without_a_key_the_identity_alone_says_what_may_be_called(of):
    assert of(None, IDENTITY.model_copy(update={"calls": ("stream",)})).calls == {"stream"}


@pytest.mark.parametrize(
    ("key", "identity", "both"),
    [
        ((), (), None),
        (("a", "b"), (), {"a", "b"}),
        ((), ("b",), {"b"}),
        (("a", "b"), ("b", "c"), {"b"}),
        (("a",), ("b",), frozenset()),
    ],
)
def test_models_are_what_both_lists_have_and_an_empty_list_has_all(of, key, identity, both):
    principal = of(replace(KEY, models=key), IDENTITY.model_copy(update={"models": identity}))
    assert principal.models == both


@pytest.mark.parametrize("own", [None, *InjectionPolicy])
def test_a_key_has_its_own_injection_policy_or_that_of_all(of, own):
    principal = of(replace(KEY, injection=own), injection=InjectionSettings(policy="flag"))
    assert principal.injection is (own or InjectionPolicy.FLAG)
    assert of(None, injection=InjectionSettings(policy="flag")).injection is InjectionPolicy.FLAG


def test_without_any_limit_there_is_none(of):
    assert (of().requests, of().tokens) == ((), ())


def test_key_identity_and_all_together_are_limited_each_under_its_name(of):
    principal = of(
        replace(KEY, limits=Limits(10, 100, 1000, 10_000, 7200)),
        IDENTITY.model_copy(update={"requests_per_minute": 20, "quota_tokens": 9}),
        rates=RateSettings(shared_requests_per_minute=50),
    )
    assert limits(principal.requests) == [
        (f"{KEY_LIMITS}:requests", 10, 60.0),
        (f"{KEY_LIMITS}:requests:quota", 1000, 7200.0),
        (f"{IDENTITY_LIMITS}:requests", 20, 60.0),
        ("selfHostedEmbeddings", 50, 60.0),
    ]
    assert limits(principal.tokens) == [
        (f"{KEY_LIMITS}:tokens", 100, 60.0),
        (f"{KEY_LIMITS}:tokens:quota", 10_000, 7200.0),
        (f"{IDENTITY_LIMITS}:tokens:quota", 9, 3600.0),
    ]


def test_without_a_key_identity_and_all_together_are_limited(of):
    principal = of(
        None,
        IDENTITY.model_copy(update={"requests_per_minute": 20}),
        rates=RateSettings(requests_per_minute=1, shared_requests_per_minute=50),
    )
    assert limits(principal.requests) == [
        (f"{IDENTITY_LIMITS}:requests", 20, 60.0),
        ("selfHostedEmbeddings", 50, 60.0),
    ]


def test_a_key_without_limits_has_the_default_ones_and_its_own_replace_all_of_them(of):
    rates = RateSettings(requests_per_minute=7, quota_tokens=70)
    assert limits(of(rates=rates).requests) == [(f"{KEY_LIMITS}:requests", 7, 60.0)]
    assert limits(of(rates=rates).tokens) == [(f"{KEY_LIMITS}:tokens:quota", 70, 3600.0)]
    own = of(replace(KEY, limits=Limits(tokens_per_minute=8)), rates=rates)
    assert (limits(own.requests), limits(own.tokens)) == ([], [(f"{KEY_LIMITS}:tokens", 8, 60.0)])


def test_the_length_of_a_window_alone_is_no_limit_of_a_key_s_own(of):
    rates = RateSettings(requests_per_minute=7)
    principal = of(replace(KEY, limits=Limits(quota_seconds=60)), rates=rates)
    assert limits(principal.requests) == [(f"{KEY_LIMITS}:requests", 7, 60.0)]


def test_all_together_are_limited_with_convex_unless_the_setting_says_otherwise(of):
    shared = [("selfHostedEmbeddings", 2000, 60.0)]
    assert limits(of().requests) == []
    assert limits(of(store=CONVEX).requests) == shared
    assert limits(of(store=CONVEX, rates=RateSettings(shared_requests_per_minute=0)).requests) == []
