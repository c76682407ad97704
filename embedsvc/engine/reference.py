"""sentence-transformers as an encoder: any model that it can load, on any device."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize
from transformers.utils.logging import disable_progress_bar

from embedsvc.engine.prepack import prepack
from embedsvc.types import TokenSequence, Vectors


class ReferenceEncoder:
    """The modules of a sentence-transformers folder over padded batches, normalization left out.

    Args:
        folder: The model's files.
        device: A torch device.
        precision: "float32", "float16" or "bfloat16".
    """

    padded = True

    def __init__(self, folder: Path, device: str, precision: str = "float32") -> None:
        disable_progress_bar()  # type: ignore[no-untyped-call]  # the log is JSON
        model = SentenceTransformer(
            str(folder),
            device=device,
            local_files_only=True,
            # No pickles of a transformer (those of other modules are read as weights alone, and no code in
            # them is run); and the files' own precision says nothing: gte-large's is float16.
            model_kwargs={"dtype": getattr(torch, precision), "use_safetensors": True},
        )
        if device == "cpu":
            _copy_weights(model)
            prepack(model)
        self.device = device
        self.dimensions = int(model.get_embedding_dimension() or 0)
        self._pad = int(model.tokenizer.pad_token_id or 0)
        self._modules = [module for module in model if not isinstance(module, Normalize)]

    @torch.inference_mode()
    def encode(self, batch: Sequence[TokenSequence]) -> Vectors:
        """See `Encoder.encode`."""
        shape = len(batch), max(map(len, batch))
        ids = np.full(shape, self._pad, dtype=np.int64)
        mask = np.zeros(shape, dtype=np.int64)
        for row, tokens in enumerate(batch):
            ids[row, : len(tokens)] = tokens
            mask[row, : len(tokens)] = 1
        features = {
            "input_ids": torch.from_numpy(ids).to(self.device),
            "attention_mask": torch.from_numpy(mask).to(self.device),
        }
        for module in self._modules:
            features = module(features)
        vectors: Vectors = features["sentence_embedding"].float().cpu().numpy()
        return vectors

    def gpu_memory(self) -> int | None:
        """See `Encoder.gpu_memory`."""
        if not self.device.startswith("cuda"):
            return None
        return int(torch.cuda.memory_allocated(self.device))


def _copy_weights(model: SentenceTransformer) -> None:
    """Have the weights in memory: they are only mapped, and would change with a file that is written over."""
    for tensor in (*model.parameters(), *model.buffers()):
        tensor.data = tensor.data.clone()
