"""Which models are served, and what computes them."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from embedsvc.config.base import Positive, Seconds, Section

EncoderName = Literal["auto", "packed", "onnx", "sentence-transformers", "fake", "null"]
Precision = Literal["auto", "float32", "float16", "bfloat16", "int8"]


class EngineSettings(Section):
    """`[engine]`: tokenizing, batching and the replicas."""

    encoder: EncoderName = "auto"
    """What computes vectors. `packed`: without padding, for BERT and MPNet; a model that it cannot
    compute stops the start. `onnx`: the same models on ONNX Runtime, on a CPU; needs the extra `onnx`.
    `sentence-transformers`: any model, any device. `auto`: `packed` where it can, else that.
    `fake` and `null` need no weights and mean nothing: for tests, and to measure what all the rest costs."""
    precision: Precision = "auto"
    """The numbers that weights are kept and multiplied in. `auto`: `float32` on a CPU, `float16`
    on a GPU. `int8`: with `packed`, on a CPU with VNNI; a model whose vectors it moves too far from float32
    stops the start."""
    devices: Annotated[tuple[str, ...], Field(min_length=1)] = ("auto",)
    """One replica of every model for each entry: `cpu`, `cuda`, `cuda:1`, … `auto`: every GPU, or
    the CPU where there is none."""
    batch_tokens: Positive | None = None
    """Tokens of one batch, padding counted. More raises throughput on a GPU, and latency everywhere.
    Not set: 1,024 on a CPU, 16,384 on a GPU."""
    batch_texts: Annotated[int, Field(ge=32)] | None = None
    """Texts of one batch, at most; 32 is the least. Not set: 256 on a CPU, 1,024 on a GPU."""
    queue_tokens: Positive = 131_072
    """Tokens that may wait. A request that does not fit gets UNAVAILABLE at once, unless nothing waits."""
    start_seconds: Seconds = 600.0
    """How long a replica may take to load its model and to warm up."""
    hang_seconds: Seconds = 2.0
    """A batch that takes so much longer than ten times what the slowest of the last ones would have taken is
    taken to hang: its replica is killed and started again, and its texts go to another."""
    tokenizer_threads: Positive = 2
    """Threads that tokenize what is large, or much at once. Small requests have a thread of their own."""


class ModelOverrides(Section):
    """`[models.settings."NAME"]`: what differs from the model's own files."""

    path: Path | None = None
    """A folder with the model's files, instead of the package or the hub."""
    max_tokens: Annotated[int, Field(ge=8, le=512)] | None = None
    """Tokens of one text, at most; never more than the model's own maximum."""
    allow_dimensions: bool = False
    """Whether vectors may be cut, though the model was not trained for it."""
    dimensions: Positive | None = None
    """What vectors are cut to where a request does not say; needs `allow_dimensions`."""
    aliases: tuple[str, ...] = ()
    """Further names that the model answers to."""
    calibration: Path | None = None
    """The file of its calibration, which `embedsvc calibrate` makes, and int8 and uint8 need. Not set: the
    one of its name in `models.calibrations`, else the one that is shipped."""

    @model_validator(mode="after")
    def _cutting_is_allowed(self) -> Self:
        if self.dimensions and not self.allow_dimensions:
            raise ValueError("dimensions needs allow_dimensions = true")
        return self


class ModelSettings(Section):
    """`[models]`: which models are served."""

    primary: Annotated[str, Field(min_length=1)] = "all-mpnet-base-v2"
    """The model of requests that name none, and of OpenAI's names."""
    fallback: str = "all-MiniLM-L6-v2"
    """A second model that is served beside the primary one, never silently in its place. Empty: none."""
    also: tuple[str, ...] = ()
    """Further models to serve."""
    lazy: tuple[str, ...] = ()
    """Those of them, all but the primary one, that are loaded at the first request for them, which waits."""
    memory_bytes: Positive | None = None
    """Bytes of weights that are loaded at once, counted as the files are large, for each replica. Where there
    is no room, lazy models without work are unloaded, the one that was not used for longest first. Not set:
    no bound."""
    folder: Path = Path("models")
    """A model's files are first looked for in the folder of its name below this one."""
    cache: Path = Path(".run/onnx")
    """Where `engine.encoder = "onnx"` keeps the graphs that it makes, each as large as its model."""
    calibrations: Path = Path(".run/calibrations")
    """The folder of calibrations: `NAME.json` for the model NAME."""
    hub: bool = True
    """Whether a model that is nowhere else may be downloaded, at its pinned revision."""
    settings: dict[str, ModelOverrides] = Field(default_factory=dict)
    """Settings for single models, by name."""

    @property
    def served(self) -> tuple[str, ...]:
        """Every model to load, the primary one first."""
        return tuple(dict.fromkeys(n for n in (self.primary, self.fallback, *self.also) if n))

    @model_validator(mode="after")
    def _settings_name_served_models(self) -> Self:
        for name in self.settings:
            if name not in self.served:
                raise ValueError(f'settings."{name}" is for a model that is not served')
        return self

    @model_validator(mode="after")
    def _lazy_models_are_served_beside_the_primary_one(self) -> Self:
        for name in self.lazy:
            if name == self.primary or name not in self.served:
                raise ValueError(f"lazy: {name} must be a model that is served beside the primary one")
        return self
