"""Which encoder computes a model on a device: the one that is asked for, or the fastest that can."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from embedsvc.config import EncoderName, EngineSettings, ModelSettings, Precision
from embedsvc.engine.encoder import Encoder
from embedsvc.engine.fingerprint import fingerprint
from embedsvc.engine.limits import BatchLimits
from embedsvc.errors import ConfigurationError

if TYPE_CHECKING:
    from embedsvc.engine.weights import Architecture

log = structlog.get_logger()

CPU_BATCH, GPU_BATCH = (1024, 256), (16_384, 1024)
"""Tokens and texts of a batch where the configuration does not say."""


@dataclass(frozen=True, slots=True)
class EncoderChoice:
    """What an operator asks for.

    Attributes:
        folder: The model's files.
        encoder: `engine.encoder`.
        precision: `engine.precision`.
        batch_tokens: `engine.batch_tokens`.
        batch_texts: `engine.batch_texts`.
        cache: `models.cache`.
        fingerprint: What the folder must still have when all is loaded; None: nobody can have changed it.
    """

    folder: Path
    encoder: EncoderName
    precision: Precision
    batch_tokens: int | None = None
    batch_texts: int | None = None
    cache: Path = ModelSettings().cache
    fingerprint: str | None = None


def batch_limits(settings: EngineSettings, device: str, *, padded: bool) -> BatchLimits:
    """How large a batch for a device may be.

    Args:
        settings: What is configured.
        device: Such as "cpu" or "cuda:0".
        padded: See `Encoder.padded`.
    """
    tokens, texts = CPU_BATCH if device == "cpu" else GPU_BATCH
    return BatchLimits(settings.batch_tokens or tokens, settings.batch_texts or texts, padded)


def build(choice: EncoderChoice, device: str) -> Encoder:
    """Load the encoder for a device; takes seconds. Torch is imported here, not before.

    Raises:
        ConfigurationError: What is asked for cannot compute this model on this device, or its files are not
            those any more that the server has read.
    """
    encoder = _load(choice, device)
    # After loading, so that nothing that was read can have been of other files.
    if choice.fingerprint and choice.fingerprint != fingerprint(choice.folder):
        raise ConfigurationError(
            f"the files in {choice.folder} are others than when they were read: put those of before back, or "
            "have the configuration read anew (SIGHUP)"
        )
    return encoder


def _load(choice: EncoderChoice, device: str) -> Encoder:
    from embedsvc.engine.packed import PackedEncoder  # noqa: PLC0415 - torch takes seconds
    from embedsvc.engine.weights import find_architecture  # noqa: PLC0415

    if choice.precision == "int8":
        return _load_int8(choice, device)
    precision = find_precision(choice.precision, device)
    if choice.encoder == "onnx":
        return _load_onnx(choice, device)
    if choice.encoder != "sentence-transformers":
        architecture = find_architecture(choice.folder)
        if architecture is not None and device == "cpu":
            return PackedEncoder(choice.folder, architecture)
        if architecture is not None:
            return _load_cuda(choice, architecture, device, precision)
    if choice.encoder == "packed":
        raise ConfigurationError(f"engine.encoder: packed computes BERT and MPNet, not {choice.folder}")
    from embedsvc.engine.reference import ReferenceEncoder  # noqa: PLC0415 - which takes seconds more

    return ReferenceEncoder(choice.folder, device, precision)


def find_precision(wanted: Precision, device: str) -> str:
    """Say what a device computes in.

    Raises:
        ConfigurationError: It cannot compute what is wanted.
    """
    if wanted == "int8":
        return "int8"
    if device != "cpu":
        return "float16" if wanted == "auto" else wanted
    if wanted not in ("auto", "float32"):
        raise ConfigurationError(f"engine.precision: nothing computes {wanted} on {device}")
    return "float32"


def _load_int8(choice: EncoderChoice, device: str) -> Encoder:
    from embedsvc.engine.agreement import require_agreement  # noqa: PLC0415 - torch takes seconds
    from embedsvc.engine.int8 import Int8Linear  # noqa: PLC0415
    from embedsvc.engine.packed import PackedEncoder  # noqa: PLC0415
    from embedsvc.engine.weights import find_architecture  # noqa: PLC0415

    architecture = find_architecture(choice.folder)
    if architecture is None or device != "cpu" or choice.encoder not in ("auto", "packed"):
        raise ConfigurationError(
            "engine.precision: int8 is for BERT and MPNet on a CPU with engine.encoder packed, "
            f"not for {choice.folder} on {device} with {choice.encoder}"
        )
    encoder = PackedEncoder(choice.folder, architecture, Int8Linear)
    require_agreement(choice.folder, encoder, PackedEncoder(choice.folder, architecture), encoder.longest)
    return encoder


def _load_cuda(choice: EncoderChoice, architecture: "Architecture", device: str, precision: str) -> Encoder:
    from embedsvc.engine.packed_cuda import load  # noqa: PLC0415 - torch takes seconds
    from embedsvc.engine.placing import Options  # noqa: PLC0415

    tokens, texts = GPU_BATCH
    options = Options(device, precision, choice.batch_tokens or tokens, choice.batch_texts or texts)
    encoder = load(choice.folder, architecture, options)
    made = encoder.warm_up
    log.info("encoder warmed up", device=device, seconds=round(made.seconds, 1), shapes=made.shapes)
    if made.uncompiled is not None:
        log.warning("kernels are not compiled, which is slower", device=device, reason=made.uncompiled)
    return encoder


def _load_onnx(choice: EncoderChoice, device: str) -> Encoder:
    missing = [name for name in ("onnx", "onnxruntime", "onnxscript") if find_spec(name) is None]
    if missing:
        raise ConfigurationError(
            f"engine.encoder: onnx needs {', '.join(missing)}, which the extra `onnx` has: "
            "pip install --requirement requirements/onnx.txt"
        )
    from embedsvc.engine.onnx_model import OnnxModel  # noqa: PLC0415 - for those who have the extra
    from embedsvc.engine.weights import find_architecture  # noqa: PLC0415 - torch takes seconds

    architecture = find_architecture(choice.folder)
    if architecture is None or device != "cpu":
        raise ConfigurationError(
            f"engine.encoder: onnx computes BERT and MPNet on a CPU, not {choice.folder} on {device}"
        )
    return OnnxModel(choice.folder, architecture).load(choice.cache)
