"""int8 of a server that may cut vectors: the bytes of whole ones are cut."""

import json

import numpy as np
import pytest
from support.programs import run_server

from embedsvc.v1 import embedding_pb2 as pb
from embedsvc.v1.embedding_pb2_grpc import EmbeddingServiceStub

MODEL = "all-MiniLM-L6-v2"


@pytest.fixture(scope="module")
def cutting_server(state, tmp_path_factory):
    allowed = json.dumps({MODEL: {"allow_dimensions": True, "dimensions": 128}})
    with run_server(state, tmp_path_factory.mktemp("cutting"), MODELS__SETTINGS=allowed) as running:
        yield running


@pytest.mark.parametrize("output_type", [pb.OUTPUT_TYPE_INT8, pb.OUTPUT_TYPE_UINT8])
@pytest.mark.parametrize("dimensions", [0, 1, 100])
async def test_bytes_of_whole_vectors_are_cut(cutting_server, state, output_type, dimensions):
    inputs = [pb.Input(text="Hello, world"), pb.Input(text="Guten Tag")]

    async def ask(kept):
        request = pb.EmbedRequest(inputs=inputs, dimensions=kept, output_type=output_type)
        return await stub.Embed(request, metadata=state.authorization)

    async with cutting_server.channel() as channel:
        stub = EmbeddingServiceStub(channel)
        cut, whole = await ask(dimensions), await ask(384)
    assert cut.dimensions == (dimensions or 128)
    assert [item.packed for item in cut.embeddings] == [
        item.packed[: cut.dimensions] for item in whole.embeddings
    ]


async def test_other_formats_are_cut_and_then_normalized(cutting_server, state):
    async with cutting_server.channel() as channel:
        request = pb.EmbedRequest(inputs=[pb.Input(text="a")], output_type=pb.OUTPUT_TYPE_FLOAT16)
        answer = await EmbeddingServiceStub(channel).Embed(request, metadata=state.authorization)
    vector = np.frombuffer(answer.embeddings[0].packed, "<f2").astype(np.float32)
    assert len(vector) == 128
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-3)
