"""reference: files, tokenizer and encoder together agree with SentenceTransformer.encode, for every model."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense
from tiny_models import CATALOG_SHAPES, MINILM, Shape, build, build_published

from embedsvc.config import ModelSettings
from embedsvc.engine.encoder import normalized
from embedsvc.engine.files import ModelFiles, find
from embedsvc.engine.fingerprint import fingerprint
from embedsvc.engine.reference import ReferenceEncoder
from embedsvc.engine.tokenizer import Asked, ModelTokenizer, load_tokenizer

PROMPTS = {"query": "find: ", "document": "keep: "}
MODELS = [
    *((shape, build_published) for shape in CATALOG_SHAPES),
    (Shape("with-prompts", prompts=PROMPTS), build_published),
    (Shape("not-normalized", pooling="cls", normalized=False), build_published),
    (Shape("saved-today", max_tokens=128, prompts=PROMPTS), build),
]
LONG = " ".join(f"the word number {number} of a long text" for number in range(200))
TEXTS = ["Hello, world", "hello world", "a", "The king in 1984.", "Füße 東京 🦊", "[SEP] <s> [MASK]", LONG]


@dataclass
class Parts:
    """A model as the engine takes it apart."""

    files: ModelFiles
    tokenizer: ModelTokenizer
    encoder: ReferenceEncoder

    @classmethod
    def of(cls, name, folder):
        files = find(name, ModelSettings(folder=folder))
        tokenizer = ModelTokenizer(load_tokenizer(files.folder), name, files.max_tokens)
        return cls(files, tokenizer, ReferenceEncoder(files.folder, "cpu"))

    def embed(self, texts, input_type=""):
        [tokenized] = self.tokenizer.encode([Asked(texts, str, self.files.prompts.get(input_type, ""))])
        vectors = self.encoder.encode([item.ids for item in tokenized])
        return normalized(vectors) if self.files.normalized else vectors


@dataclass
class Model:
    """A model in our parts, and in sentence-transformers' own hands."""

    shape: Shape
    ours: Parts
    theirs: SentenceTransformer


@pytest.fixture(scope="module", params=MODELS, ids=lambda param: param[0].name)
def model(request, tmp_path_factory):
    shape, save = request.param
    folder = save(shape, tmp_path_factory.mktemp("models"))
    float32 = {"dtype": torch.float32}
    theirs = SentenceTransformer(
        str(folder), device="cpu", prompts=shape.card_prompts or None, model_kwargs=float32
    )
    return Model(shape, Parts.of(shape.name, folder.parent), theirs)


def cosines(left, right):
    return (normalized(left) * normalized(right)).sum(axis=1)


def test_a_model_s_files_are_read_as_sentence_transformers_reads_them(model):
    files, shape = model.ours.files, model.shape
    assert files.max_tokens == model.theirs.max_seq_length == shape.max_tokens
    assert files.normalized is shape.normalized
    assert files.revision == "folder"
    assert files.prompts == shape.prompts | shape.card_prompts


@pytest.mark.parametrize("input_type", ["", "query", "document"])
def test_vectors_are_those_of_sentence_transformers(model, input_type):
    prompt_name = input_type if model.theirs.prompts.get(input_type) else None
    theirs, ours = model.theirs.encode(TEXTS, prompt_name=prompt_name), model.ours.embed(TEXTS, input_type)
    assert (ours.shape, ours.dtype) == ((len(TEXTS), 32), np.float32)
    assert cosines(ours, theirs).min() >= 0.9999
    np.testing.assert_allclose(ours, theirs, atol=1e-3)


def test_a_prompt_makes_another_vector(model):
    for input_type in model.shape.prompts | model.shape.card_prompts:
        assert cosines(model.ours.embed(TEXTS, input_type), model.ours.embed(TEXTS)).max() < 0.999


def test_a_vector_does_not_depend_on_its_batch(model):
    together = model.ours.embed(TEXTS)
    alone = np.concatenate([model.ours.embed([text]) for text in TEXTS])
    backwards = model.ours.embed(TEXTS[::-1])[::-1]
    assert cosines(together, alone).min() >= 0.9999
    assert cosines(together, backwards).min() >= 0.9999
    assert cosines(together[:-1], together[1:]).max() < 0.999


def test_an_encoder_computes_in_float32_whatever_its_weights_are_stored_in(model):
    encoder = model.ours.encoder
    stored = SentenceTransformer(str(model.ours.files.folder), device="cpu", model_kwargs={"dtype": "auto"})
    assert next(stored.parameters()).dtype == (torch.float16 if model.shape.half else torch.float32)
    assert encoder.encode([[101, 5, 102]]).dtype == np.float32
    parameters = [parameter for module in encoder._modules for parameter in module.parameters()]
    assert {parameter.dtype for parameter in parameters} == {torch.float32}


@pytest.mark.parametrize(("precision", "dtype"), [("float16", torch.float16), ("bfloat16", torch.bfloat16)])
def test_half_precision_is_kept_where_it_is_asked_for(model, precision, dtype):
    encoder = ReferenceEncoder(model.ours.files.folder, "cpu", precision)
    parameters = [parameter for module in encoder._modules for parameter in module.parameters()]
    assert {parameter.dtype for parameter in parameters} == {dtype}
    batch = [[101, 5, 102]]
    assert cosines(encoder.encode(batch), model.ours.encoder.encode(batch)).min() >= 0.99


def test_an_encoder_says_what_it_is(model):
    encoder = model.ours.encoder
    assert (encoder.device, encoder.dimensions, encoder.padded) == ("cpu", 32, True)
    assert encoder.gpu_memory() is None


def test_the_packaged_model_agrees_too(tmp_path, reference):
    parts = Parts.of("all-MiniLM-L6-v2", tmp_path)
    assert parts.files.folder == MINILM
    ours, theirs = parts.embed(TEXTS), reference.encode(TEXTS)
    assert cosines(ours, theirs).min() >= 0.9999
    alone = np.concatenate([parts.embed([text]) for text in TEXTS])
    assert cosines(ours, alone).min() >= 0.9999


def test_what_the_pickled_weights_of_a_dense_module_decide_its_folder_s_fingerprint_tells(tmp_path):
    whole = SentenceTransformer(str(build(Shape("whole", normalized=False), tmp_path)), device="cpu")
    whole.append(Dense(32, 16))
    whole.save(str(tmp_path / "pickled"))
    dense = tmp_path / "pickled" / "2_Dense"
    weights = load_file(dense / "model.safetensors")
    (dense / "model.safetensors").unlink()
    found = []
    for factor in (1, -1):
        torch.save({name: tensor * factor for name, tensor in weights.items()}, dense / "pytorch_model.bin")
        vectors = ReferenceEncoder(dense.parent, "cpu").encode([[101, 5, 102]])
        found.append((vectors.tobytes(), fingerprint(dense.parent)))
    assert all(one != other for one, other in zip(*found, strict=True))
