"""Frozen settings, validated when built; the only reader of the configuration file and environment.

Sources, later over earlier: the defaults below, the TOML file, `EMBEDSVC_*` variables
(`EMBEDSVC_SERVER__PORT=50052` is `server.port`; lists are JSON). Secrets are never settings.
The docstrings below are the reference in docs/configuration.md.
"""

import os
import re
import tomllib
from itertools import filterfalse
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from embedsvc.errors import ConfigurationError
from embedsvc.types import Truncation

PREFIX = "EMBEDSVC_"
FILE_VARIABLE = "EMBEDSVC_CONFIG"

SERVICE_LINK = re.compile(r"EMBEDSVC_(SERVICE|PORT)(_[A-Z0-9]+)*")
"""What Kubernetes puts into the environment for a service that is called embedsvc."""

Port = Annotated[int, Field(ge=1, le=65535)]
Positive = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(gt=0)]
EncoderName = Literal["auto", "packed", "onnx", "sentence-transformers", "fake", "null"]
Precision = Literal["auto", "float32", "float16", "bfloat16", "int8"]


class Section(BaseModel):
    """A table of the file: frozen, and without room for keys that nobody knows."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class ServerSettings(Section):
    """`[server]`: the gRPC listener."""

    host: str = "127.0.0.1"
    """Address to listen on for gRPC with mTLS; `0.0.0.0` in a container."""
    port: Port = 50051
    """Port for gRPC with mTLS."""
    processes: Annotated[int, Field(ge=1, le=64)] = 1
    """Processes that answer on the port and share the replicas; more than one on Linux only. One is right
    until its event loop is what limits a GPU: see docs/operations.md."""
    reflection: bool = True
    """Whether `grpcurl list` and `describe` work. They need a client certificate, but no key."""
    max_connection_streams: Positive = 1024
    """Calls under way on one connection, at most."""
    keepalive_seconds: Seconds = 30.0
    """How long a connection may be silent before it is pinged."""
    drain_seconds: Seconds = 30.0
    """How long requests under way may take to finish after SIGTERM; the rest are cancelled."""
    drain_notice_seconds: Annotated[float, Field(ge=0)] = 0.0
    """How long the server says NOT_SERVING before it takes no more calls: time for Envoy to notice."""
    stream_window: Positive = 256
    """Inputs of one `EmbedStream` call that are worked on or wait to be read by the caller, at most."""

    @property
    def address(self) -> str:
        """Host and port as gRPC writes them."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class MetricsSettings(Section):
    """`[metrics]`: the Prometheus endpoint."""

    host: str = "127.0.0.1"
    """Address of `/metrics`."""
    port: Port = 9464
    """Port of `/metrics`."""


class TlsSettings(Section):
    """`[tls]`: certificates in PEM; a file that changes is served from the next handshake on."""

    ca: Path = Path(".run/certs/ca.crt")
    """The CA that clients' certificates must come from."""
    certificate: Path = Path(".run/certs/server.crt")
    """The server's certificate chain."""
    key: Path = Path(".run/certs/server.key")
    """The server's private key."""


class AuthSettings(Section):
    """`[auth]`: who may call."""

    keys_file: Path = Path(".run/api_keys")
    """A line for each API key: its SHA-256 in hexadecimal, a space, a name. Reread when it changes."""


class LimitSettings(Section):
    """`[limits]`: what one request may hold."""

    max_text_chars: Positive = 8192
    """Characters (Unicode code points) of one text, or its token ids."""
    max_inputs: Positive = 2048
    """Inputs of one request."""
    max_request_bytes: Positive = 1_048_576
    """Bytes of one request: of JSON at the edge, of the protobuf message over gRPC."""
    truncation: Truncation = Truncation.END
    """What happens to a text of too many tokens where a request does not say: `none` (an error), `end`
    or `start`."""


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
    folder: Path = Path("models")
    """A model's files are first looked for in the folder of its name below this one."""
    cache: Path = Path(".run/onnx")
    """Where `engine.encoder = "onnx"` keeps the graphs that it makes, each as large as its model."""
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


class LogSettings(Section):
    """`[log]`: one JSON object a line on standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least level that is written."""


class EdgeSettings(Section):
    """`[edge]`: Envoy, as `make run` and `embedsvc render-edge` set it up."""

    template: Path = Path("envoy.yaml")
    """Envoy's configuration, with `${...}` where these settings go."""
    host: str = "127.0.0.1"
    """Address of the REST listener; `0.0.0.0` in a container."""
    port: Port = 8080
    """Port of the REST listener."""
    admin_host: str = "127.0.0.1"
    """Address of Envoy's admin page, which has no authentication: keep it on loopback."""
    admin_port: Port = 9901
    """Port of Envoy's admin page."""
    upstream_host: str = "127.0.0.1"
    """Name or address of the gRPC servers; every address that it resolves to gets its share."""
    upstream_port: Port | None = None
    """Port of the gRPC servers; `server.port` where not set."""
    ca: Path = Path(".run/certs/ca.crt")
    """The CA of the servers' certificates."""
    certificate: Path = Path(".run/certs/client.crt")
    """The certificate that Envoy shows to the servers."""
    key: Path = Path(".run/certs/client.key")
    """Its private key."""


class Settings(BaseSettings):
    """Everything that can be set. Build it with `load`."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", env_prefix=PREFIX, env_nested_delimiter="__"
    )

    server: ServerSettings = ServerSettings()
    metrics: MetricsSettings = MetricsSettings()
    tls: TlsSettings = TlsSettings()
    auth: AuthSettings = AuthSettings()
    limits: LimitSettings = LimitSettings()
    engine: EngineSettings = EngineSettings()
    models: ModelSettings = ModelSettings()
    log: LogSettings = LogSettings()
    edge: EdgeSettings = EdgeSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the signature is pydantic's
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - not a source here
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - not a source here
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment over the file, which `load` passes in as arguments."""
        return env_settings, init_settings


def load(path: Path | None = None) -> Settings:
    """Read the settings.

    Args:
        path: The TOML file; by default `$EMBEDSVC_CONFIG`, else `embedsvc.toml` where there is one.

    Raises:
        ConfigurationError: A file that cannot be read, or a setting that is unknown or impossible;
            the message has its name.
    """
    path = path or _default_file()
    _refuse_unknown_variables()
    try:
        return Settings(**(_read(path) if path else {}))
    except ValidationError as error:
        raise ConfigurationError(_explain(error, path)) from None
    except SettingsError as error:
        raise ConfigurationError(f"{error.__cause__}: {error}; lists and tables are JSON") from None


def _default_file() -> Path | None:
    if named := os.environ.get(FILE_VARIABLE):
        return Path(named)
    path = Path("embedsvc.toml")
    return path if path.exists() else None


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigurationError(f"configuration file {path}: {error}") from None


def _refuse_unknown_variables() -> None:
    for name in filterfalse(SERVICE_LINK.fullmatch, os.environ):
        section = name.removeprefix(PREFIX).split("__")[0].lower()
        if name.startswith(PREFIX) and name != FILE_VARIABLE and section not in Settings.model_fields:
            raise ConfigurationError(
                f"environment variable {name}: no such setting. Settings are {PREFIX}SECTION__KEY; "
                "secrets are read from files only"
            )


def _explain(error: ValidationError, path: Path | None) -> str:
    lines = (
        f"{'.'.join(str(part) for part in item['loc'])}: "
        + ("no such setting" if item["type"] == "extra_forbidden" else item["msg"])
        for item in error.errors()
    )
    return f"configuration ({path or 'defaults'} and {PREFIX}* variables): " + "; ".join(lines)
