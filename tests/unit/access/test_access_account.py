"""access.account: what a request may use of its caller's limits, and what it used."""

import re
import time
from dataclasses import replace

import numpy as np
import pytest
from house import knock, open_house

from embedsvc.access.account import Account
from embedsvc.config import RateSettings
from embedsvc.errors import (
    InvalidCertificateError,
    PermissionDeniedError,
    RateLimitedError,
    TokensLimitedError,
)
from embedsvc.store.records import InjectionPolicy, Limits
from embedsvc.types import Embeddings


@pytest.fixture
def account(house, certificate):
    """Opens an account for a new key with some limits."""

    async def make(name="alice", **limits):
        return await house.account(certificate("search"), name=name, limits=Limits(**limits))

    return make


def embeddings(*tokens):
    count = len(tokens)
    return Embeddings("model-a", np.zeros((count, 2), np.float32), tokens, [False] * count)


async def test_requests_pass_until_the_limit_and_then_are_told_when_to_come_back(account):
    own = await account(requests_per_minute=2)
    for _ in range(2):
        await own.admit()
    with pytest.raises(RateLimitedError, match=r"^over the limit, 2 requests in 60s; try again in ") as told:
        await own.admit()
    assert type(told.value) is RateLimitedError
    assert 0 < told.value.retry_after <= 60


async def test_tokens_pass_until_the_limit_and_then_are_told_how_many_were_asked_for(account):
    own = await account(tokens_per_minute=10)
    await own.admit()
    await own.charge(6)
    with pytest.raises(TokensLimitedError, match=r"10 tokens in 60s: this request has 5; try again") as told:
        await own.charge(5)
    assert 0 < told.value.retry_after <= 60


async def test_a_request_that_is_larger_than_the_limit_is_told_that_it_can_never_pass(account):
    own = await account(tokens_per_minute=10)
    await own.admit()
    with pytest.raises(TokensLimitedError, match=r"this request has 11; it can never pass$") as told:
        await own.charge(11)
    assert told.value.retry_after is None


async def test_a_quota_is_told_with_its_own_window(account):
    own = await account(quota_requests=1, quota_seconds=7200)
    await own.admit()
    with pytest.raises(RateLimitedError, match="1 requests in 2h0m0s"):
        await own.admit()


async def test_a_request_that_one_limit_refuses_is_taken_off_no_other(account):
    own = await account(requests_per_minute=10, quota_requests=1)
    await own.admit()
    with pytest.raises(RateLimitedError, match="1 requests in 1h0m0s"):
        await own.admit()
    assert own.principal.requests[0].remaining(time.monotonic()) == 9


async def test_the_limit_of_all_together_is_told_as_such(tmp_path, ca, crl, certificate):
    rates = RateSettings(shared_requests_per_minute=1)
    async with open_house(tmp_path / "y.db", crl(ca), rates=rates) as house:
        await (await house.account(certificate("search"))).admit()
        other = await house.account(certificate("search"))
        with pytest.raises(RateLimitedError, match="over the limit of all callers together, 1 requests"):
            await other.admit()


async def test_without_limits_nothing_is_refused_and_nothing_said(account):
    own = await account()
    assert not own.limited
    await own.admit()
    await own.charge(10**9)
    assert own.headers() == []


async def test_an_answer_says_of_both_kinds_what_is_left(account):
    own = await account(requests_per_minute=10, tokens_per_minute=1000)
    assert own.limited
    await own.admit()
    await own.charge(40)
    headers = dict(own.headers())
    resets = [headers.pop(f"x-ratelimit-reset-{kind}") for kind in ("requests", "tokens")]
    assert all(re.fullmatch(r"[0-9.]+s|1m0s", reset) for reset in resets)
    assert headers == {
        "x-ratelimit-limit-requests": "10",
        "x-ratelimit-remaining-requests": "9",
        "x-ratelimit-limit-tokens": "1000",
        "x-ratelimit-remaining-tokens": "960",
    }


async def test_the_very_first_use_waits_no_longer_than_is_left_since_the_call_came(
    house, account, monkeypatch
):
    asked = []

    async def take(buckets, units, since):
        asked.append((tuple(buckets), units, since))

    monkeypatch.setattr(house.limiter, "take", take)
    own = await account(requests_per_minute=5, tokens_per_minute=50)
    late = Account(own._guest, house.gate, house.limiter, since=1.5)
    await late.admit()
    await late.charge(7)
    assert asked == [(own.principal.requests, 1, 1.5), (own.principal.tokens, 7, 1.5)]


async def test_a_model_that_is_not_the_caller_s_is_forbidden_by_name(house, certificate):
    own = await house.account(certificate("search"), name="alice", models=("model-b",))
    own.allow("model-b", 1)
    with pytest.raises(PermissionDeniedError, match="alice may not use the model model-a") as told:
        own.allow("model-a", 1)
    assert told.value.param == "model"


async def test_without_a_list_of_models_all_are_the_caller_s(account):
    (await account()).allow("whatever", 1)


async def test_suspicious_texts_are_handled_as_the_key_has_it(house, certificate):
    own = await house.account(certificate("search"), injection=InjectionPolicy.FLAG)
    assert own.injection is InjectionPolicy.FLAG


async def test_a_row_has_who_asked_for_what_and_what_it_took(account):
    own = await account("alice")
    own.allow("model-a", 2)
    own.note(embeddings(3, 5))
    row = own.row("id-1", "Embed", "OK", 0.25)
    assert abs(row.at - time.time()) < 5
    assert replace(row, at=0.0, key="") == type(row)(
        request_id="id-1",
        key="",
        identity="search",
        rpc="Embed",
        model="model-a",
        requests=1,
        inputs=2,
        tokens=8,
        cached=0,
        latency_ms=250.0,
        outcome="OK",
        at=0.0,
    )
    assert row.key == own.principal.key


async def test_a_row_of_a_request_that_failed_has_what_it_asked_for(account):
    own = await account()
    own.allow("model-a", 7)
    row = own.row("id-1", "Embed", "RESOURCE_EXHAUSTED", 0.001)
    assert (row.model, row.inputs, row.tokens, row.outcome) == ("model-a", 7, 0, "RESOURCE_EXHAUSTED")


async def test_a_row_of_a_request_that_came_to_no_model_has_none(account):
    row = (await account()).row("id-1", "ListModels", "OK", 0.001)
    assert (row.model, row.inputs, row.tokens) == ("", 0, 0)


async def test_a_caller_without_a_key_has_a_row_of_its_identity(house, certificate):
    guest = await house.gate.enter(knock(certificate("search")))
    row = Account(guest, house.gate, house.limiter, time.monotonic()).row("id-1", "Embed", "OK", 0.0)
    assert (row.key, row.identity) == ("", "search")


async def test_the_next_batch_has_an_account_of_its_own_and_the_same_limits(account):
    first = await account(requests_per_minute=10)
    first.allow("model-a", 7)
    second = await first.again()
    assert second.row("id", "EmbedStream", "OK", 0.0).inputs == 0
    assert second.principal.requests == first.principal.requests


async def test_there_is_no_next_batch_for_a_caller_that_counts_no_more(house, account, certificate, ca, crl):
    first = await account()
    house.revoked.replace(crl(ca, certificate("search")))
    with pytest.raises(InvalidCertificateError):
        await first.again()


async def test_what_the_identity_may_not_call_is_forbidden(house, certificate):
    own = await house.account(certificate("lister"), name="alice")
    own.permit("models")
    with pytest.raises(PermissionDeniedError, match="alice may not call 'embed'"):
        own.permit("embed")


async def test_what_the_key_may_not_call_is_forbidden(house, certificate):
    own = await house.account(certificate("search"), name="alice", calls=("stream",))
    own.permit("stream")
    with pytest.raises(PermissionDeniedError, match="alice may not call 'models'"):
        own.permit("models")
