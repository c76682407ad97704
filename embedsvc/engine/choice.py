"""Which encoder computes a model on a device: the one that is asked for, or the fastest that can."""

from dataclasses import dataclass
from pathlib import Path

from embedsvc.config import EncoderName, Precision
from embedsvc.engine.encoder import Encoder
from embedsvc.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class EncoderChoice:
    """What an operator asks for.

    Attributes:
        folder: The model's files.
        encoder: `engine.encoder`.
        precision: `engine.precision`.
    """

    folder: Path
    encoder: EncoderName
    precision: Precision


def build(choice: EncoderChoice, device: str) -> Encoder:
    """Load the encoder for a device; takes seconds. Torch is imported here, not before.

    Raises:
        ConfigurationError: What is asked for cannot compute this model on this device.
    """
    from embedsvc.engine.packed import PackedEncoder  # noqa: PLC0415 - torch takes seconds
    from embedsvc.engine.reference import ReferenceEncoder  # noqa: PLC0415
    from embedsvc.engine.weights import find_architecture  # noqa: PLC0415

    if choice.precision not in ("auto", "float32"):
        raise ConfigurationError(f"engine.precision: nothing computes {choice.precision} on {device}")
    if choice.encoder != "sentence-transformers" and device == "cpu":
        architecture = find_architecture(choice.folder)
        if architecture is not None:
            return PackedEncoder(choice.folder, architecture)
    if choice.encoder == "packed":
        raise ConfigurationError(
            f"engine.encoder: packed computes BERT and MPNet on a CPU, not {choice.folder} on {device}"
        )
    return ReferenceEncoder(choice.folder, device)
