"""What is written first: FastAPI, and SentenceTransformer.encode in every request."""

import os

from fastapi import FastAPI
from pydantic import BaseModel
from sentence_transformers import SentenceTransformer

app = FastAPI()
model = SentenceTransformer(os.environ["MODEL_FOLDER"])


class EmbeddingRequest(BaseModel):
    """Some texts."""

    texts: list[str]


@app.post("/embeddings")
def create_embeddings(request: EmbeddingRequest) -> dict[str, list[list[float]]]:
    """Embed texts, in a thread of FastAPI's pool, as every plain `def` endpoint is run."""
    return {"embeddings": model.encode(request.texts).tolist()}
