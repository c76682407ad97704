"""The model that everybody serves: all-MiniLM-L6-v2, reading as many tokens as it has positions."""

import json
import shutil
from pathlib import Path

from embedsvc.config import ModelSettings
from embedsvc.engine import files

ROOT = Path(__file__).parent.parent
CACHE = ROOT / ".cache" / "bench"
MODEL = "all-MiniLM-L6-v2"
DIMENSIONS = 384
MAX_TOKENS = 512
"""The model's own files say 256, where sentence-transformers cuts; its positions reach twice as far."""


def share_model(name: str) -> Path:
    """Make a folder of the model's files, with the length changed, below the cache.

    Returns:
        The folder.
    """
    source, folder = files.find(MODEL, ModelSettings()).folder, CACHE / name
    shutil.copytree(source, folder, dirs_exist_ok=True)
    settings = {"max_seq_length": MAX_TOKENS, "do_lower_case": False}
    (folder / "sentence_bert_config.json").write_text(json.dumps(settings))
    return folder
