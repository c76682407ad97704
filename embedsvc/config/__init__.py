"""Frozen settings, validated when built.

Sources, later over earlier: the defaults in the sections, the TOML file, `EMBEDSVC_*` variables
(`EMBEDSVC_SERVER__PORT=50052` is `server.port`; lists are JSON). Secrets are never settings, only where to
find them. The sections' docstrings are the reference in docs/configuration.md.
"""

from embedsvc.config.base import reachable
from embedsvc.config.cache import CacheSettings
from embedsvc.config.edge import EdgeRates, EdgeSettings, Rate
from embedsvc.config.engine import EncoderName, EngineSettings, ModelOverrides, ModelSettings, Precision
from embedsvc.config.load import PREFIX, Settings, load
from embedsvc.config.routing import CostSettings, ProviderSettings, RemoteModelSettings, RouteSettings
from embedsvc.config.server import (
    LimitSettings,
    LogSettings,
    MetricsSettings,
    ServerSettings,
    TlsSettings,
)
from embedsvc.config.trust import (
    AuthSettings,
    IdentitySettings,
    InjectionSettings,
    LedgerSettings,
    RateSettings,
    StoreSettings,
)

__all__ = [
    "PREFIX",
    "AuthSettings",
    "CacheSettings",
    "CostSettings",
    "EdgeRates",
    "EdgeSettings",
    "EncoderName",
    "EngineSettings",
    "IdentitySettings",
    "InjectionSettings",
    "LedgerSettings",
    "LimitSettings",
    "LogSettings",
    "MetricsSettings",
    "ModelOverrides",
    "ModelSettings",
    "Precision",
    "ProviderSettings",
    "Rate",
    "RateSettings",
    "RemoteModelSettings",
    "RouteSettings",
    "ServerSettings",
    "Settings",
    "StoreSettings",
    "TlsSettings",
    "load",
    "reachable",
]
