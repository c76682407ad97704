"""Number formats through Envoy, as users of OpenAI's SDK ask for them."""

from base64 import b64decode

import httpx
import numpy as np
import openai
import pytest
from sentence_transformers.util.quantization import quantize_embeddings

from embedsvc.calibration import DATA, read

MODEL = "all-MiniLM-L6-v2"
TEXTS = ["Hello, world", "Füße, 東京 and 🦊", "word " * 700]
KINDS = {"float32": "<f4", "float16": "<f2", "int8": "i1", "uint8": "u1", "binary": "i1", "ubinary": "u1"}


@pytest.fixture(scope="module")
def client(pair, state, documented):
    checked = httpx.Client(event_hooks={"response": [documented]})
    with openai.OpenAI(base_url=f"{pair.url}/v1", api_key=state.api_key, http_client=checked) as opened:
        yield opened


@pytest.fixture(scope="module")
def exact(client):
    """The vectors in float32, by a request as OpenAI's own users send it."""
    answer = client.embeddings.create(model=MODEL, input=TEXTS)
    return np.array([item.embedding for item in answer.data], dtype=np.float32)


def expected_of(exact, output_type):
    """What sentence-transformers makes of them with the shipped ranges; numpy, of halves: it has none."""
    if output_type == "float16":
        return exact.astype("<f2")
    return quantize_embeddings(
        exact, output_type, ranges=read(DATA / "calibrations" / f"{MODEL}.json").ranges
    )


@pytest.mark.parametrize(("output_type", "kind"), KINDS.items())
@pytest.mark.parametrize("form", ["float", "base64"])
def test_the_sdk_gets_what_sentence_transformers_makes_of_the_vectors(client, exact, output_type, kind, form):
    answer = client.embeddings.create(
        model=MODEL, input=TEXTS, encoding_format=form, extra_body={"output_type": output_type}
    )
    if form == "base64":
        rows = [np.frombuffer(b64decode(item.embedding, validate=True), kind) for item in answer.data]
    else:
        rows = [np.array(item.embedding, dtype=kind) for item in answer.data]
        whole = all(float(number).is_integer() for item in answer.data for number in item.embedding)
        assert whole is not output_type.startswith("float")
    np.testing.assert_array_equal(np.stack(rows), expected_of(exact, output_type))


def test_the_bytes_of_an_answer_without_an_output_type_are_those_with_float32(http):
    body = {"model": MODEL, "input": TEXTS}
    for form in ({}, {"encoding_format": "float"}, {"encoding_format": "base64"}):
        plain = http.post("/v1/embeddings", json=body | form)
        named = http.post("/v1/embeddings", json=body | form | {"output_type": "float32"})
        absent = http.post("/v1/embeddings", json=body | form | {"output_type": None})
        assert plain.status_code == 200
        assert plain.content == named.content == absent.content


@pytest.mark.parametrize("given", ["int4", "INT8", "", 8, ["int8"]])
def test_an_output_type_that_there_is_not_is_a_400_that_names_the_field(client, given):
    with pytest.raises(openai.BadRequestError) as caught:
        client.embeddings.create(model=MODEL, input="a", extra_body={"output_type": given})
    assert caught.value.param == "output_type"
    assert "output_type must be 'float32' or 'float16' or 'int8'" in str(caught.value)
