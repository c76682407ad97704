"""Embeds documents by one model into an index of its own, and goes on where it stopped."""

from __future__ import annotations

import argparse
import asyncio
import json
import sqlite3
import sys
from array import array
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
from client import connect, failure_of, failure_of_call

from embedsvc.v1.embedding_pb2 import INPUT_TYPE_DOCUMENT, EmbedRequest, EmbedStreamRequest, Input
from embedsvc.v1.embedding_pb2_grpc import EmbeddingServiceStub

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator

    from embedsvc.v1.embedding_pb2 import Embedding
    from embedsvc.v1.embedding_pb2_grpc import EmbeddingServiceAsyncStub as Stub

Document = tuple[str, str]  # its id, and its text

TEXTS = 32  # of one batch
ROUNDS = 10  # how often what failed for the moment is sent again
PAUSE = 2.0  # seconds between rounds


class Index:
    """Stands for yours: a file of SQLite with a vector for each document, all of one model.

    Raises:
        ValueError: It has vectors of another model already.
    """

    def __init__(self, connection: sqlite3.Connection, model: str) -> None:
        self._connection = connection
        connection.execute("CREATE TABLE IF NOT EXISTS vectors (id TEXT PRIMARY KEY, vector BLOB NOT NULL)")
        connection.execute("CREATE TABLE IF NOT EXISTS models (name TEXT PRIMARY KEY)")
        for (name,) in connection.execute("SELECT name FROM models WHERE name != ?", (model,)):
            raise ValueError(f"the index has vectors of {name}: those of {model} go into another one")
        with connection:
            connection.execute("INSERT OR IGNORE INTO models VALUES (?)", (model,))

    def lacks(self, name: str) -> bool:
        """Whether a document has no vector yet."""
        found = self._connection.execute("SELECT 1 FROM vectors WHERE id = ?", (name,))
        return found.fetchone() is None

    def put(self, vectors: Iterable[tuple[str, Embedding]]) -> None:
        """Keep vectors, each in place of what was there."""
        rows = [(name, array("f", row.values).tobytes()) for name, row in vectors]
        with self._connection:
            self._connection.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?)", rows)


@dataclass(frozen=True)
class Job:
    """What is to be done.

    Attributes:
        stub: Whom to call.
        key: The API key; one for this job alone, so that nobody waits behind it.
        model: The model by its own name: an alias may lead to another one.
        index: Where the vectors go.
    """

    stub: Stub
    key: str
    model: str
    index: Index

    async def run(self, documents: Iterable[Document]) -> dict[str, str]:
        """Embed what the index lacks; return what was refused for good, and why.

        What failed for the moment is neither in the index nor refused: run it again.
        """
        waiting: dict[str, list[Document]] = {}
        refused: dict[str, str] = {}

        async def requests() -> AsyncIterator[EmbedStreamRequest]:
            """Is asked for the next batch when the server has room for it: documents are not all read."""
            for number, batch in enumerate(batches(documents)):
                waiting[str(number)] = batch
                yield EmbedStreamRequest(id=str(number), request=self._request(batch))

        metadata = (("authorization", f"Bearer {self.key}"),)
        async for answer in self.stub.EmbedStream(requests(), metadata=metadata):
            names = [name for name, _ in waiting.pop(answer.id)]
            if answer.HasField("error"):
                failure = failure_of(answer.error)
                if failure.retry_seconds is None:
                    refused |= dict.fromkeys(names, failure.message)
                continue
            rows = list(zip(names, answer.response.embeddings, strict=True))
            self.index.put((name, row) for name, row in rows if not row.HasField("error"))
            refused |= {name: row.error.message for name, row in rows if row.HasField("error")}
        return refused

    def _request(self, batch: Iterable[Document]) -> EmbedRequest:
        inputs = [Input(text=text) for _, text in batch]
        return EmbedRequest(
            model=self.model, inputs=inputs, input_type=INPUT_TYPE_DOCUMENT, allow_partial=True
        )


def batches(documents: Iterable[Document]) -> Iterator[list[Document]]:
    """Some documents at a time."""
    batch: list[Document] = []
    for document in documents:
        batch.append(document)
        if len(batch) == TEXTS:
            yield batch
            batch = []
    if batch:
        yield batch


def read(path: Path) -> Iterator[Document]:
    """The documents of a file for `embedsvc migrate compare`: a line for each, with an id."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            if line.strip() and "document" in (row := json.loads(line)):
                yield str(row["id"]), row["document"]


async def reindex(job: Job, path: Path) -> int:
    """Embed all documents of a file; return the exit status."""
    refused: dict[str, str] = {}
    for _ in range(ROUNDS):
        missing = (found for found in read(path) if found[0] not in refused and job.index.lacks(found[0]))
        try:
            refused |= await job.run(missing)
        except grpc.aio.AioRpcError as error:
            failure = failure_of_call(error)
            if error.code() != grpc.StatusCode.UNAVAILABLE:
                print(f"{failure.reason or error.code().name}: {failure.message}", file=sys.stderr)
                return 1
        left = sum(job.index.lacks(name) for name, _ in read(path))
        if left == len(refused):
            break
        print(f"{left - len(refused)} documents to go", file=sys.stderr)
        await asyncio.sleep(PAUSE)
    for name, why in refused.items():
        print(f"{name}: {why}", file=sys.stderr)
    return 1 if left else 0


async def main() -> int:
    """Call the server that `make run` started, unless told otherwise."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("documents", type=Path, help='a line for each: {"id": …, "document": TEXT}')
    parser.add_argument("index", type=Path, help="the file with the vectors; made where there is none")
    parser.add_argument("--model", required=True, help="by its own name")
    parser.add_argument("--target", default="127.0.0.1:50051", help="127.0.0.1:50052 is Envoy")
    parser.add_argument("--certificates", type=Path, default=".run/certs")
    parser.add_argument("--key", type=Path, default=".run/api_key")
    chosen = parser.parse_args()

    key = chosen.key.read_text().strip()
    with closing(sqlite3.connect(chosen.index)) as connection:
        index = Index(connection, chosen.model)
        async with connect(chosen.target, chosen.certificates) as channel:
            job = Job(EmbeddingServiceStub(channel), key, chosen.model, index)
            return await reindex(job, chosen.documents)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
