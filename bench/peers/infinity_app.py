"""Infinity on a model of a local folder: two repairs for its ONNX engine, and then its own command line.

Run it with Infinity's Python (`.venv-peers/infinity`), with the arguments of `infinity_emb`.
"""

import sys
from functools import partial
from pathlib import Path

import torch
from torch.onnx._internal.torchscript_exporter import symbolic_opset14

# optimum 1 imports private names from where they were before torch 2.9, and exports by the older exporter.
sys.modules["torch.onnx.symbolic_opset14"] = symbolic_opset14
torch.onnx.export = partial(torch.onnx.export, dynamo=False)

from infinity_emb.cli import cli  # noqa: E402 - after the repairs
from infinity_emb.transformer.embedder import optimum  # noqa: E402
from optimum.onnxruntime import ORTModelForFeatureExtraction  # noqa: E402

FILE = "model.onnx"


def find_onnx_file(*, model_name_or_path: str, **_: object) -> Path:
    """Export the model beside its weights if that was not done before; return the file's name in its folder.

    Infinity's own function returns a local folder's files by absolute path, which optimum does not find.
    """
    folder = Path(model_name_or_path)
    if not (folder / FILE).exists():
        ORTModelForFeatureExtraction.from_pretrained(folder, export=True).save_pretrained(folder)
    return Path(FILE)


optimum.get_onnx_files = find_onnx_file

if __name__ == "__main__":
    sys.exit(cli())
