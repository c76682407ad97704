"""Builds the grpc.aio server: the onion of interceptors, TLS, limits, services."""

from collections.abc import Sequence
from dataclasses import dataclass

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from embedsvc.config import Settings
from embedsvc.embedder import Embedder
from embedsvc.engine.engine import Engine
from embedsvc.errors import ConfigurationError
from embedsvc.health import HealthReporter
from embedsvc.interceptors.auth import AuthLayer
from embedsvc.interceptors.base import Onion
from embedsvc.interceptors.compression import CompressionLayer
from embedsvc.interceptors.errors import ErrorLayer
from embedsvc.interceptors.ledger import LedgerLayer
from embedsvc.interceptors.logging import LoggingLayer
from embedsvc.interceptors.metrics import MetricsLayer
from embedsvc.interceptors.rates import RatesLayer
from embedsvc.metrics import Metrics
from embedsvc.routing.models import Models
from embedsvc.service import EmbeddingService, ModelService
from embedsvc.tls import Certificates
from embedsvc.trust import Trust
from embedsvc.v1 import embedding_pb2, model_pb2, openai_pb2
from rest_shim.errors import trailers
from rest_shim.service import JSON_GROWTH, OpenAIService


@dataclass(frozen=True, slots=True)
class Core:
    """What answers.

    Attributes:
        engine: The models of this machine.
        models: Every model.
        embedder: Answers with them.
        health: Says how things are.
    """

    engine: Engine
    models: Models
    embedder: Embedder
    health: HealthReporter


def build_server(settings: Settings, core: Core, trust: Trust, metrics: Metrics) -> grpc.aio.Server:
    """Put the server together, and bind its port.

    Raises:
        ConfigurationError: The port is taken, or the certificates cannot be used.
    """
    server = grpc.aio.server(
        interceptors=[
            Onion(
                [
                    LoggingLayer(),
                    MetricsLayer(metrics),
                    LedgerLayer(trust.ledger),
                    ErrorLayer(metrics, trailers),
                    AuthLayer(trust.gate, trust.limiter),
                    RatesLayer(),
                    CompressionLayer(),
                ]
            )
        ],
        options=_options(settings),
    )
    server.add_generic_rpc_handlers(
        [
            EmbeddingService(core.embedder, settings, metrics, trust.ledger).handlers(),
            ModelService(core.models, settings).handlers(),
            OpenAIService(core.embedder, core.models, core.engine, core.health, settings).handlers(),
        ]
    )
    health_pb2_grpc.add_HealthServicer_to_server(core.health.servicer, server)
    if settings.server.reflection:
        reflection.enable_server_reflection(_reflected(), server)
    _bind(server, settings)
    return server


def _options(settings: Settings) -> Sequence[tuple[str, int]]:
    keepalive = int(settings.server.keepalive_seconds * 1000)
    return [
        ("grpc.max_receive_message_length", JSON_GROWTH * settings.limits.max_request_bytes),
        ("grpc.max_send_message_length", -1),  # bounded by what one request may hold
        # Twice what Envoy lets in, so that it is Envoy who refuses, in OpenAI's shape.
        ("grpc.max_metadata_size", 32 * 1024),
        ("grpc.absolute_max_metadata_size", 64 * 1024),
        ("grpc.max_concurrent_streams", settings.server.max_connection_streams),
        ("grpc.keepalive_time_ms", keepalive),
        ("grpc.keepalive_timeout_ms", keepalive // 3),
        # Callers may ping as often as their own keep-alive asks, also between calls.
        ("grpc.http2.min_recv_ping_interval_without_data_ms", 5_000),
        ("grpc.keepalive_permit_without_calls", 1),
        # A second server on the port is a mistake, and is told so, unless it is one of ours: see port.py.
        ("grpc.so_reuseport", int(settings.server.processes > 1)),
    ]


def _reflected() -> list[str]:
    files = (embedding_pb2, model_pb2, openai_pb2, health_pb2)
    return [
        *(name.full_name for file in files for name in file.DESCRIPTOR.services_by_name.values()),
        reflection.SERVICE_NAME,
    ]


def _bind(server: grpc.aio.Server, settings: Settings) -> None:
    address = settings.server.address
    try:
        bound = server.add_secure_port(address, Certificates(settings.tls).credentials())
    except RuntimeError as error:
        raise ConfigurationError(f"server.port: cannot listen on {address}: {error}") from None
    if not bound:
        raise ConfigurationError(f"server.port: cannot listen on {address}")
