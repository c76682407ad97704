"""embedder: check, tokenize, compute, normalize, cut."""

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager

import numpy as np
import pytest

from embedsvc.cache.cache import open_cache
from embedsvc.config import (
    CacheSettings,
    EngineSettings,
    LimitSettings,
    ModelOverrides,
    ModelSettings,
    Settings,
)
from embedsvc.embedder import Parts, open_embedder
from embedsvc.engine import fake
from embedsvc.engine.engine import open_engine
from embedsvc.errors import (
    ContextLengthExceededError,
    InvalidRequestError,
    ModelNotFoundError,
    OverloadedError,
)
from embedsvc.metrics import Metrics
from embedsvc.routing.models import Models
from embedsvc.types import Caller, EmbedRequest, InputType, Truncation

CALLER = Caller("tests")
MINI, E5 = "all-MiniLM-L6-v2", "e5-large-v2"
OPENAI = "text-embedding-3-small"
LIMITS = LimitSettings(max_inputs=8, max_text_chars=300)


@pytest.fixture
def metrics():
    return Metrics()


@pytest.fixture(params=[True, False], ids=["cache", "no cache"])
def caching(request):
    return request.param


def settings_with(**engine):
    overrides = {MINI: ModelOverrides(allow_dimensions=True)}
    return Settings(
        engine=EngineSettings(encoder="fake", **engine),
        limits=LIMITS,
        models=ModelSettings(primary=MINI, fallback=E5, settings=overrides),
    )


@pytest.fixture(scope="module")
async def shared():
    """An engine with the fake encoder."""
    async with open_engine(settings_with(), Metrics()) as engine:
        yield engine


@pytest.fixture
def serve(metrics, caching):
    """Opens an embedder over an engine."""

    @asynccontextmanager
    async def opened(engine):
        settings = CacheSettings(enabled=caching, second="none")
        models = Models(engine, {}, settings_with())
        async with (
            open_cache(settings, None, metrics.cache) as cache,
            open_embedder(
                Parts(models, engine.threads, LIMITS, cache, list[object]().append, metrics)
            ) as embedder,
        ):
            yield embedder

    return opened


@pytest.fixture
def embed(shared, serve):
    """Answers one request."""

    async def answer(*inputs, caller=CALLER, **fields):
        async with serve(shared) as embedder:
            return await embedder.embed(EmbedRequest(inputs, **fields), caller)

    return answer


def pooled(text):
    """What the fake encoder makes of a text."""
    return fake.FakeEncoder("cpu").encode([fake.tokenizer().encode(text).ids])[0]


def unit(vector):
    return vector / np.linalg.norm(vector)


async def test_vectors_are_the_encoder_s_normalized_in_the_order_of_the_inputs(embed):
    texts = ["one", "a much longer text", "東京"]
    answer = await embed(*texts)
    np.testing.assert_allclose(answer.vectors, [unit(pooled(text)) for text in texts], rtol=1e-5)
    assert answer.vectors.dtype == np.float32
    assert list(answer.tokens) == [5, 20, 8]
    assert (answer.model, answer.total_tokens, list(answer.truncated)) == (MINI, 33, [False] * 3)
    assert answer.errors == {}
    assert min(answer.timings.tokenize, answer.timings.queue, answer.timings.inference) >= 0


async def test_a_vector_does_not_depend_on_its_batch(embed):
    texts = ["one", "two " * 30, "three"]
    together = (await embed(*texts)).vectors
    for text, vector in zip(texts, together, strict=True):
        assert (await embed(text)).vectors[0] @ vector >= 0.9999


async def test_normalization_can_be_declined(embed):
    answer = await embed("one", normalize=False)
    np.testing.assert_allclose(answer.vectors[0], pooled("one"), rtol=1e-5)
    assert np.linalg.norm(answer.vectors[0]) != pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("dimensions", [1, 64, 383, 384])
@pytest.mark.parametrize("normalize", [None, True, False])
async def test_cut_vectors_are_the_leading_dimensions_normalized_again(embed, dimensions, normalize):
    answer = await embed("one", dimensions=dimensions, normalize=normalize)
    cut = pooled("one")[:dimensions]
    expected = cut if normalize is False else unit(cut)
    np.testing.assert_allclose(answer.vectors[0], expected, rtol=1e-5)


async def test_dimensions_are_refused_where_the_model_was_not_trained_for_them(embed):
    with pytest.raises(InvalidRequestError, match="allow_dimensions"):
        await embed("one", model=E5, dimensions=64)


async def test_an_alias_is_answered_under_the_model_s_own_name(embed):
    assert (await embed("one", model=OPENAI)).model == MINI
    assert (await embed("one", model="intfloat/e5-large-v2")).model == E5


@pytest.mark.parametrize(
    ("fields", "error", "param"),
    [
        ({"model": "gpt-4"}, ModelNotFoundError, "model"),
        ({"dimensions": 385}, InvalidRequestError, "dimensions"),
    ],
)
async def test_what_is_wrong_with_the_request_fails_it_even_where_partial_answers_are_allowed(
    embed, fields, error, param
):
    with pytest.raises(error) as caught:
        await embed("one", allow_partial=True, **fields)
    assert caught.value.param == param


@pytest.mark.parametrize("count", [0, 9])
async def test_too_few_or_too_many_inputs_fail_the_request(embed, count):
    with pytest.raises(InvalidRequestError) as caught:
        await embed(*["a"] * count, field="input", allow_partial=True)
    assert caught.value.param == "input"


BAD = ["", "a\0b", "x" * 301, [], [258], "x" * 255]
ERRORS = [InvalidRequestError] * 5 + [ContextLengthExceededError]


@pytest.mark.parametrize(("bad", "error"), list(zip(BAD, ERRORS, strict=True)))
async def test_a_bad_input_fails_the_request_and_is_named(embed, bad, error):
    with pytest.raises(InvalidRequestError) as caught:
        await embed("one", bad, "three", truncation=Truncation.NONE)
    assert type(caught.value) is error
    assert caught.value.param == "inputs[1]"
    with pytest.raises(InvalidRequestError) as caught:
        await embed(bad, truncation=Truncation.NONE, field="input", single=True)
    assert caught.value.param == "input"


async def test_a_partial_answer_has_the_good_vectors_and_the_errors_of_the_others(embed):
    answer = await embed("one", *BAD, "two", truncation=Truncation.NONE, allow_partial=True)
    assert {at: type(error) for at, error in answer.errors.items()} == dict(enumerate(ERRORS, start=1))
    assert answer.errors[3].param == "inputs[3]"
    np.testing.assert_allclose(answer.vectors[0], unit(pooled("one")), rtol=1e-5)
    np.testing.assert_allclose(answer.vectors[7], unit(pooled("two")), rtol=1e-5)
    assert not answer.vectors[1:7].any()
    assert list(answer.tokens) == [5, 0, 0, 0, 0, 0, 0, 5]
    assert list(answer.truncated) == [False] * 8


async def test_a_partial_answer_may_have_errors_only(embed):
    answer = await embed("", "", allow_partial=True, dimensions=16)
    assert sorted(answer.errors) == [0, 1]
    assert answer.vectors.shape == (2, 16)
    assert not answer.vectors.any()


@pytest.mark.parametrize("truncation", [None, Truncation.END, Truncation.START])
async def test_a_long_text_is_cut_and_says_so(embed, truncation):
    answer = await embed("x" + "y" * 299, "short", truncation=truncation)
    assert list(answer.truncated) == [True, False]
    assert list(answer.tokens) == [fake.MAX_TOKENS, 7]
    kept = "y" * 254 if truncation is Truncation.START else "x" + "y" * 253
    np.testing.assert_allclose(answer.vectors[0], unit(pooled(kept)), rtol=1e-4)


async def test_ids_are_the_model_s_own_under_its_own_name(embed):
    ids = fake.tokenizer().encode("one").ids
    for name in ("", MINI, "sentence-transformers/all-MiniLM-L6-v2"):
        answer = await embed(ids, model=name)
        np.testing.assert_allclose(answer.vectors[0], unit(pooled("one")), rtol=1e-5)


async def test_ids_are_openai_s_under_openai_s_names(embed):
    answer = await embed([9906, 11, 1917], "Hello, world", model=OPENAI)
    np.testing.assert_allclose(answer.vectors[0], answer.vectors[1], rtol=1e-6)
    assert list(answer.tokens) == [14, 14]


@pytest.mark.parametrize("bad", [[100256], [188], [220] * 301])
async def test_openai_s_ids_are_checked_as_the_text_that_they_stand_for(embed, bad):
    with pytest.raises(InvalidRequestError) as caught:
        await embed("one", bad, model=OPENAI)
    assert caught.value.param == "inputs[1]"


@pytest.mark.parametrize(
    ("input_type", "prompt"), [("query", "ask: "), ("document", ""), ("unspecified", "")]
)
async def test_the_input_type_chooses_the_model_s_prompt(shared, serve, monkeypatch, input_type, prompt):
    async with serve(shared) as embedder:
        monkeypatch.setitem(shared.primary.card.files.prompts, "query", "ask: ")
        request = EmbedRequest(["one"], input_type=InputType(input_type))
        answer = await embedder.embed(request, CALLER)
    np.testing.assert_allclose(answer.vectors[0], unit(pooled(prompt + "one")), rtol=1e-5)


async def test_what_does_not_fit_into_the_queue_is_refused_and_the_patient_wait(serve):
    stream = Caller("stream", patient=True)
    async with open_engine(settings_with(queue_tokens=20), Metrics()) as engine, serve(engine) as embedder:
        request = EmbedRequest(["one"])
        async with AsyncExitStack() as others:
            for name in ("other", "third", "fourth"):
                await others.enter_async_context(engine.admission.admit(5, Caller(name)))
            with pytest.raises(OverloadedError):
                await embedder.embed(request, CALLER)
        async with engine.admission.admit(5, stream):
            waits = asyncio.create_task(embedder.embed(request, stream))
            await asyncio.sleep(0)
            assert not waits.done()
        assert (await waits).tokens == [5]
        assert engine.admission.held == 0


async def test_room_is_given_back_whatever_happens(shared, serve):
    async with serve(shared) as embedder:
        await embedder.embed(EmbedRequest(["one"]), CALLER)
        with pytest.raises(InvalidRequestError):
            await embedder.embed(EmbedRequest([""]), CALLER)
        for turns in range(8):
            leaving = asyncio.create_task(embedder.embed(EmbedRequest([f"left after {turns}"]), CALLER))
            for _ in range(turns):
                await asyncio.sleep(0)
            leaving.cancel()
            with pytest.raises(asyncio.CancelledError):
                await leaving
        async with asyncio.timeout(10):
            while shared.admission.held:  # noqa: ASYNC110 - by what is about to end
                await asyncio.sleep(0)


async def test_answered_texts_and_tokens_are_counted_and_failed_ones_are_not(embed, metrics, caching):
    await embed("one", "", "two", allow_partial=True)
    with pytest.raises(InvalidRequestError):
        await embed("")
    assert metrics.registry.get_sample_value("embeddings_texts_total", {"model": MINI}) == 2
    assert metrics.registry.get_sample_value("embeddings_tokens_total", {"model": MINI}) == 10
    usd = metrics.registry.get_sample_value("embeddings_openai_usd_total", {"price": "3-large"})
    assert usd == pytest.approx(10 * 0.13e-6)
    result = {"result": "miss" if caching else "off"}
    assert metrics.registry.get_sample_value("embeddings_cache_lookups_total", result) == 2
