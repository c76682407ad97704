"""From a model's files to an encoder on ONNX Runtime: the graph is made once, and kept."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import onnxruntime
import torch

from embedsvc.engine import onnx_graph
from embedsvc.engine.onnx_cache import GraphCache, Recipe, digest
from embedsvc.engine.onnx_encoder import OnnxEncoder
from embedsvc.engine.weights import Architecture


@dataclass(frozen=True, slots=True)
class OnnxModel:
    """A model that is to run on ONNX Runtime.

    Attributes:
        folder: The model's files.
        architecture: What they say.
    """

    folder: Path
    architecture: Architecture

    def load(self, cache: Path) -> OnnxEncoder:
        """Load the encoder; takes seconds where its graph is not in the cache yet.

        Raises:
            ConfigurationError: The cache cannot be written.
        """
        with GraphCache(cache).open(self._recipe()) as graph:
            return OnnxEncoder(graph, self.architecture, torch.get_num_threads())

    def _recipe(self) -> Recipe:
        weights = digest(self.folder / "model.safetensors")
        made_from = {
            "weights": weights,
            "architecture": asdict(self.architecture),
            "graph": digest(Path(onnx_graph.__file__)),
            "torch": torch.__version__,
            "onnxruntime": onnxruntime.__version__,
        }
        return Recipe(f"{weights[:16]}-float32", json.dumps(made_from, sort_keys=True), self._make)

    def _make(self, path: Path) -> None:
        onnx_graph.export(self.folder, self.architecture, path)
