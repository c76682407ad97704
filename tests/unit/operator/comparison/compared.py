"""Two models that need no server, and a report of them."""

import math
from dataclasses import dataclass, field

import numpy as np

from embedsvc.operator.client import Answer
from embedsvc.operator.comparison.agreement import agree
from embedsvc.operator.comparison.corpus import Corpus, Text
from embedsvc.operator.comparison.costs import Price
from embedsvc.operator.comparison.measuring import measure
from embedsvc.operator.comparison.relevance import judge
from embedsvc.operator.comparison.report import Report
from embedsvc.types import InputType

ONE, OTHER = "model-a", "far/model-b"
DIMENSIONS = {ONE: 8, OTHER: 12}
SECONDS = {ONE: 0.01, OTHER: 0.2}
PRICES = Price(None, None), Price(0.02, 0.2)


@dataclass
class Models:
    """Answers for two models: each turns the same text into the same vector of its own.

    Attributes:
        answers: What answers under a name, if not the model of that name.
        bad: Texts that a model refuses.
        asked: What was asked, as (model, texts, input type).
    """

    answers: dict[str, str] = field(default_factory=dict)
    bad: dict[str, set[str]] = field(default_factory=dict)
    asked: list[tuple[str, tuple[str, ...], InputType]] = field(default_factory=list)

    async def ask(self, name, texts, input_type):
        self.asked.append((name, tuple(texts), input_type))
        model = self.answers.get(name, name)
        bad = self.bad.get(model, set())
        refused = {at: "is bad" for at, text in enumerate(texts) if text in bad}
        good = [text for text in texts if text not in bad]
        vectors = np.array([vector(model, text) for text in good], dtype=np.float32)
        return Answer(vectors, sum(map(len, good)), SECONDS[model], model, refused)


def vector(model, text):
    return [math.sin((at + 2) * sum(text.encode()) + len(model) * at) for at in range(DIMENSIONS[model])]


def corpus(queries=6, documents=30, relevant=None):
    return Corpus(
        [Text(f"query {at}", f"texts.jsonl line {at + 1}") for at in range(queries)],
        [Text(f"document {'x' * at}", f"texts.jsonl line {queries + at + 1}") for at in range(documents)],
        relevant or {},
    )


async def report(texts, models=None, prices=PRICES):
    measured = await measure((models or Models()).ask, (ONE, OTHER), texts)
    agreement = agree(*(side.space for side in measured.sides))
    known = measured.corpus.relevant
    return Report(
        measured,
        agreement,
        prices,
        tuple(judge(found, known) for found in agreement.nearest) if known else None,
    )
