"""As much as one request may ask for: 2,048 inputs, and answers of more than 25 MB."""

import httpx
import numpy as np
import pytest
from support.programs import run_edge, run_server

NUMBERS = [str(number) for number in range(2048)]


def test_2048_texts_come_back_in_order(vectors_of, same):
    same(vectors_of(NUMBERS), NUMBERS)


@pytest.fixture(scope="module")
def wide(reference, tmp_path_factory):
    """A model of 1,152 dimensions that is small enough to be made here."""
    from sentence_transformers import SentenceTransformer  # noqa: PLC0415 - takes seconds
    from sentence_transformers.sentence_transformer import modules  # noqa: PLC0415
    from transformers import BertConfig, BertModel  # noqa: PLC0415

    folder = tmp_path_factory.mktemp("wide")
    config = BertConfig(
        vocab_size=len(reference.tokenizer),
        hidden_size=1152,
        num_hidden_layers=1,
        num_attention_heads=16,
        intermediate_size=64,
    )
    BertModel(config).save_pretrained(folder / "bert")
    reference.tokenizer.save_pretrained(folder / "bert")
    bert = modules.Transformer(str(folder / "bert"), max_seq_length=256)
    model = SentenceTransformer(modules=[bert, modules.Pooling(1152), modules.Normalize()], device="cpu")
    model.save(str(folder / "gte-large"))
    return model, folder


@pytest.fixture(scope="module")
def wide_http(wide, state, tmp_path_factory):
    """A client of an edge that serves that model."""
    _, models = wide
    folder = tmp_path_factory.mktemp("wide-run")
    settings = {"MODELS__PRIMARY": "gte-large", "MODELS__FOLDER": models}
    with (
        run_server(state, folder, **settings) as server,
        run_edge(server, state, folder) as edge,
        httpx.Client(base_url=edge.url, timeout=120) as client,
    ):
        client.headers["authorization"] = f"Bearer {state.api_key}"
        yield client


def test_an_answer_of_more_than_25_megabytes_arrives_whole(wide, wide_http):
    response = wide_http.post("/v1/embeddings", json={"model": "gte-large", "input": NUMBERS})
    assert response.status_code == 200
    assert len(response.content) > 25 * 2**20
    vectors = np.array([item["embedding"] for item in response.json()["data"]])
    assert vectors.shape == (2048, 1152)
    model, _ = wide
    assert (vectors * model.encode(NUMBERS)).sum(axis=1).min() >= 0.9999
