"""What is written first: FastAPI, and SentenceTransformer.encode in every request."""

import os

from fastapi import FastAPI
from pydantic import BaseModel
from sentence_transformers import SentenceTransformer

app = FastAPI()
model = SentenceTransformer(os.environ["MODEL_FOLDER"])


class EmbeddingRequest(BaseModel):
    """One text."""

    text: str


@app.post("/embeddings")
def create_embedding(request: EmbeddingRequest) -> dict[str, list[float]]:
    """Embed one text, in a thread of FastAPI's pool, as every plain `def` endpoint is run."""
    return {"embedding": model.encode(request.text).tolist()}
