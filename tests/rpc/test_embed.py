"""EmbeddingService.Embed over mTLS, with the real model."""

import numpy as np
import pytest

from embedsvc.v1 import embedding_pb2 as pb
from embedsvc.v1.embedding_pb2_grpc import EmbeddingServiceStub

TEXTS = ["Hello, world", "The quick brown fox jumps over the lazy dog.", "Füße, 東京 and 🦊", "x " * 700]


@pytest.fixture
def stub(channel):
    return EmbeddingServiceStub(channel)


def request(*texts, **fields):
    return pb.EmbedRequest(inputs=[pb.Input(text=text) for text in texts], **fields)


async def test_vectors_are_those_of_sentence_transformers(stub, state, reference):
    response = await stub.Embed(request(*TEXTS), metadata=state.authorization)
    vectors = np.array([item.values for item in response.embeddings], dtype=np.float32)
    assert (vectors * reference.encode(TEXTS)).sum(axis=1) == pytest.approx(1, abs=1e-4)
    assert [item.index for item in response.embeddings] == [0, 1, 2, 3]
    assert [item.truncated for item in response.embeddings] == [False, False, False, True]
    assert response.embeddings[3].tokens == 256
    assert response.usage.total_tokens == sum(item.tokens for item in response.embeddings)
    assert (response.model, response.dimensions) == ("all-MiniLM-L6-v2", 384)
    assert response.output_type == pb.OUTPUT_TYPE_FLOAT32
    assert response.timings.inference.ToNanoseconds() > 0
