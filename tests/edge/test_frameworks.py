"""LangChain and LlamaIndex, as their users write them: with defaults, and under the model's own name."""

from functools import partial

import openai
import pytest
from langchain_openai import OpenAIEmbeddings
from llama_index.embeddings.openai import OpenAIEmbedding

MODEL = "all-MiniLM-L6-v2"
TEXTS = ["Hello, world", "Füße, 東京 and 🦊", "The quick brown fox. " * 100, "word " * 700]


@pytest.fixture
async def clients():
    """The SDK's own HTTP clients, which the frameworks would make and never close."""
    async with openai.DefaultAsyncHttpxClient() as asynchronous:
        with openai.DefaultHttpxClient() as sync:
            yield sync, asynchronous


@pytest.fixture
def make_langchain(edge, state, clients, cl100k_offline):
    sync, asynchronous = clients
    to = {"base_url": f"{edge.url}/v1", "api_key": state.api_key}
    return partial(OpenAIEmbeddings, **to, http_client=sync, http_async_client=asynchronous)


@pytest.fixture
def langchain(make_langchain):
    return make_langchain()


@pytest.fixture
def make_llama_index(edge, state, clients):
    sync, asynchronous = clients
    to = {"api_base": f"{edge.url}/v1", "api_key": state.api_key}
    return partial(OpenAIEmbedding, **to, http_client=sync, async_http_client=asynchronous)


@pytest.fixture
def llama_index(make_llama_index):
    return make_llama_index()


def test_langchain_embeds_documents(langchain, same):
    same(langchain.embed_documents(TEXTS), TEXTS)


@pytest.mark.parametrize("text", TEXTS)
def test_langchain_embeds_a_query(langchain, same, text):
    same([langchain.embed_query(text)], [text])


async def test_langchain_embeds_asynchronously(langchain, same):
    same(await langchain.aembed_documents(TEXTS), TEXTS)


@pytest.mark.parametrize(
    "options",
    [
        {
            "model": MODEL,
            "check_embedding_ctx_length": False,
        },  # else it would send ids of OpenAI's vocabulary
        {"model": "text-embedding-3-small", "dimensions": 384},
        {"model": "text-embedding-3-large", "chunk_size": 1},
    ],
    ids=str,
)
def test_langchain_takes_options(make_langchain, same, options):
    same(make_langchain(**options).embed_documents(TEXTS), TEXTS)


def test_llama_index_embeds_documents(llama_index, same):
    same(llama_index.get_text_embedding_batch(TEXTS), TEXTS)


@pytest.mark.parametrize("text", TEXTS)
def test_llama_index_embeds_a_query(llama_index, same, text):
    same([llama_index.get_query_embedding(text)], [text])


async def test_llama_index_embeds_asynchronously(llama_index, same):
    same(await llama_index.aget_text_embedding_batch(TEXTS), TEXTS)


@pytest.mark.parametrize(
    "options", [{"model_name": MODEL}, {"dimensions": 384}, {"embed_batch_size": 1}], ids=str
)
def test_llama_index_takes_options(make_llama_index, same, options):
    same(make_llama_index(**options).get_text_embedding_batch(TEXTS), TEXTS)
