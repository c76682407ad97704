"""All settings, and how they are read; the only reader of the configuration file and environment."""

import os
import re
import tomllib
from itertools import filterfalse
from pathlib import Path
from typing import Any, Self

from pydantic import Field, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from embedsvc.config.cache import CacheSettings
from embedsvc.config.edge import EdgeSettings
from embedsvc.config.engine import EngineSettings, ModelSettings
from embedsvc.config.routing import NAME, CostSettings, ProviderName, ProviderSettings, RouteSettings
from embedsvc.config.server import (
    LimitSettings,
    LogSettings,
    MetricsSettings,
    ServerSettings,
    TlsSettings,
)
from embedsvc.config.trust import (
    AuthSettings,
    InjectionSettings,
    LedgerSettings,
    RateSettings,
    StoreSettings,
)
from embedsvc.errors import ConfigurationError
from embedsvc.secret.environment import USES, refuse_secrets
from embedsvc.secret.reference import SecretRef
from embedsvc.secret.settings import AwsSettings, VaultSettings

PREFIX = "EMBEDSVC_"
FILE_VARIABLE = "EMBEDSVC_CONFIG"

NO_SECRETS = frozenset(
    f"{PREFIX}{name}"
    for name in ("TLS__KEY", "EDGE__KEY", "EDGE__PUBLIC_KEY", "EDGE__GRPC_KEY", "EDGE__RATES__KEY")
)
"""Variables that are called like a secret, and hold the path of one or a number."""

SERVICE_LINK = re.compile(r"EMBEDSVC_(SERVICE|PORT)(_[A-Z0-9]+)*")
"""What Kubernetes puts into the environment for a service that is called embedsvc."""


class Settings(BaseSettings):
    """Everything that can be set. Build it with `load`."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", env_prefix=PREFIX, env_nested_delimiter="__"
    )

    server: ServerSettings = ServerSettings()
    metrics: MetricsSettings = MetricsSettings()
    tls: TlsSettings = TlsSettings()
    auth: AuthSettings = AuthSettings()
    store: StoreSettings = StoreSettings()
    rates: RateSettings = RateSettings()
    ledger: LedgerSettings = LedgerSettings()
    injection: InjectionSettings = InjectionSettings()
    vault: VaultSettings = VaultSettings()
    aws: AwsSettings = AwsSettings()
    limits: LimitSettings = LimitSettings()
    engine: EngineSettings = EngineSettings()
    models: ModelSettings = ModelSettings()
    cache: CacheSettings = CacheSettings()
    providers: dict[ProviderName, ProviderSettings] = Field(default_factory=dict)
    routes: dict[str, RouteSettings] = Field(default_factory=dict)
    cost: CostSettings = CostSettings()
    log: LogSettings = LogSettings()
    edge: EdgeSettings = EdgeSettings()

    @model_validator(mode="after")
    def _identities_use_served_models(self) -> Self:
        for identity in self.auth.identities:
            for name in identity.models:
                if name not in self.known_models:
                    raise ValueError(
                        f"auth.identities {identity.name}: models: {name} is not served; models are named by "
                        f"their own names: {', '.join(self.known_models)}"
                    )
        return self

    @model_validator(mode="after")
    def _lazy_models_need_one_process(self) -> Self:
        if self.models.lazy and self.server.processes > 1:
            raise ValueError("models.lazy needs server.processes = 1: nobody could tell all processes of it")
        return self

    @model_validator(mode="after")
    def _routes_have_known_sides(self) -> Self:
        for alias, route in self.routes.items():
            if not re.fullmatch(NAME, alias) or alias in self.known_models:
                raise ValueError(f'routes."{alias}": must be a name that no model has')
            for name in filter(None, (route.model, route.other)):
                if name not in self.known_models:
                    raise ValueError(
                        f'routes."{alias}": {name} is not served; models are named by their own names: '
                        f"{', '.join(self.known_models)}"
                    )
        return self

    @property
    def known_models(self) -> tuple[str, ...]:
        """Every model by its own name: those of this machine, then those of providers."""
        return (*self.models.served, *self.remote_models)

    @property
    def remote_models(self) -> tuple[str, ...]:
        """The models of providers, as `NAME/MODEL`."""
        return tuple(f"{name}/{model}" for name, own in self.providers.items() for model in own.models)

    @property
    def references(self) -> dict[str, SecretRef]:
        """Where the secrets are, by the setting that says so; and what is watched like one."""
        found = {
            "auth.keys": self.auth.keys,
            "store.admin_key": self.store.admin_key,
            "tls.revoked": SecretRef("file", str(self.tls.revoked)) if self.tls.revoked else None,
            "cache.password": self.cache.password,
            **{f"providers.{name}.key": provider.key for name, provider in self.providers.items()},
            **{identity.signer: identity.signing_secret for identity in self.auth.identities},
        }
        return {setting: ref for setting, ref in found.items() if ref is not None}

    @property
    def places(self) -> frozenset[str]:
        """Whose secrets must not be in the environment."""
        used = {self.store.kind, *(ref.scheme for ref in self.references.values())}
        return frozenset(used | ({"providers"} if self.providers else set())) & USES

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
        settings = Settings(**(_read(path) if path else {}))
    except ValidationError as error:
        raise ConfigurationError(_explain(error, path)) from None
    except SettingsError as error:
        raise ConfigurationError(f"{error.__cause__}: {error}; lists and tables are JSON") from None
    refuse_secrets(os.environ, settings.places, NO_SECRETS)
    return settings


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
