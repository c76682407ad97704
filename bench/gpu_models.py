"""Models to measure: real weights where there is a folder of them, else random ones of the true shape."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import BertConfig, BertModel, MPNetConfig, MPNetModel, PreTrainedModel

CONFIGS = {"bert": (BertConfig, BertModel), "mpnet": (MPNetConfig, MPNetModel)}
SPECIAL = {
    "bert": ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"],
    "mpnet": ["<s>", "<pad>", "</s>", "[UNK]", "<mask>"],
}
SPREAD = 0.05
"""Of random weights: with BERT's own 0.02 the vectors of all texts are nearly the same."""


@dataclass(frozen=True, slots=True)
class Spec:
    """The shape of a model.

    Attributes:
        name: What it is called.
        family: "bert" or "mpnet".
        layers: How many.
        heads: Attention heads of a layer.
        dimensions: The length of a token's vector.
        inner: The length of a token's vector between the two products behind attention.
        words: The size of its vocabulary.
    """

    name: str
    family: str
    layers: int
    heads: int
    dimensions: int
    inner: int
    words: int = 30_522

    def useful_flops(self, length: int) -> int:
        """Floating-point operations that a text of so many tokens needs: products, a multiply-add being two.

        A layer multiplies each token with 4 D^2 + 2 D I weights, and with D numbers of every token of its
        text twice: for the score, and for what is attended.
        """
        weights = 4 * self.dimensions**2 + 2 * self.dimensions * self.inner
        return 2 * self.layers * length * (weights + 2 * length * self.dimensions)


SPECS = (
    Spec("all-MiniLM-L6-v2", "bert", layers=6, heads=12, dimensions=384, inner=1536),
    Spec("bert-base", "bert", layers=12, heads=12, dimensions=768, inner=3072),
    Spec("bert-large", "bert", layers=24, heads=16, dimensions=1024, inner=4096),
    Spec("all-mpnet-base-v2", "mpnet", layers=12, heads=12, dimensions=768, inner=3072, words=30_527),
)
TINY_SPECS = (
    Spec("tiny-bert", "bert", layers=2, heads=2, dimensions=32, inner=64, words=1000),
    Spec("tiny-mpnet", "mpnet", layers=2, heads=2, dimensions=32, inner=64, words=1000),
)


def find_folder(spec: Spec, models: Path, made: Path) -> Path:
    """Return a model's folder.

    Args:
        spec: Which.
        models: A folder that may have a folder of its name, with real weights.
        made: Where one with random weights is made otherwise.
    """
    real = models / spec.name
    return real if (real / "model.safetensors").exists() else make_model(spec, made / spec.name)


def make_model(spec: Spec, folder: Path) -> Path:
    """Save a random model, in float16, with the files that sentence-transformers wants."""
    _random_model(spec).to(dtype=torch.float16).save_pretrained(folder)
    special = SPECIAL[spec.family]
    words = [*special, *(f"w{number}" for number in range(len(special), spec.words))]
    (folder / "vocab.txt").write_text("\n".join(words))
    tokenizer = {"tokenizer_class": "BertTokenizer", "model_max_length": 512}
    _write(folder / "tokenizer_config.json", {**tokenizer, **_named(spec.family)})
    _write(folder / "modules.json", _modules())
    _write(folder / "sentence_bert_config.json", {"max_seq_length": 512, "do_lower_case": False})
    pooling = {"word_embedding_dimension": spec.dimensions, "pooling_mode_mean_tokens": True}
    (folder / "1_Pooling").mkdir()
    _write(folder / "1_Pooling" / "config.json", pooling)
    return folder


def _random_model(spec: Spec) -> PreTrainedModel:
    torch.manual_seed(0)
    config, model = CONFIGS[spec.family]
    made: PreTrainedModel = model(
        config(
            vocab_size=spec.words,
            num_hidden_layers=spec.layers,
            num_attention_heads=spec.heads,
            hidden_size=spec.dimensions,
            intermediate_size=spec.inner,
            max_position_embeddings=514 if spec.family == "mpnet" else 512,
            initializer_range=SPREAD,
        )
    )
    return made


def _named(family: str) -> Mapping[str, str]:
    """The family's special tokens, under the names that a tokenizer of BERT has for them."""
    if family == "bert":
        return {}
    names = ("cls_token", "pad_token", "sep_token", "unk_token", "mask_token")
    return dict(zip(names, SPECIAL[family], strict=True))


def _modules() -> list[Mapping[str, object]]:
    paths = {"Transformer": "", "Pooling": "1_Pooling"}
    return [
        {"idx": at, "name": str(at), "path": path, "type": f"sentence_transformers.models.{name}"}
        for at, (name, path) in enumerate(paths.items())
    ]


def _write(path: Path, content: object) -> None:
    path.write_text(json.dumps(content))
