"""probes: health on a port of its own, without TLS, and nothing else there."""

import socket
from types import SimpleNamespace

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from support.programs import free_port

from embedsvc.config import ServerSettings
from embedsvc.errors import ConfigurationError
from embedsvc.health import LIVENESS, report_health
from embedsvc.probes import answer_probes
from embedsvc.v1 import model_pb2
from embedsvc.v1.model_pb2_grpc import ModelServiceStub


@pytest.fixture
def settings():
    return ServerSettings(health_port=free_port())


@pytest.fixture
async def health():
    async with report_health() as reporter:
        yield reporter


@pytest.fixture
async def channel(settings, health):
    async with (
        answer_probes(settings, health),
        grpc.aio.insecure_channel(settings.at(settings.health_port)) as opened,
    ):
        yield opened


async def ask(channel, service):
    request = health_pb2.HealthCheckRequest(service=service)
    answer = await health_pb2_grpc.HealthStub(channel).Check(request, timeout=10)
    return health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)


async def test_they_need_no_certificate(channel):
    assert await ask(channel, LIVENESS) == "SERVING"
    assert await ask(channel, "") == "NOT_SERVING"


async def test_they_see_what_changes(channel, health):
    await health.follow(SimpleNamespace(primary=SimpleNamespace(ready=True)))
    assert await ask(channel, "embedsvc.v1.OpenAIService") == "SERVING"


async def test_a_service_that_nobody_knows_is_not_found(channel):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await ask(channel, "livenes")
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_nothing_else_is_served_there(channel):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await ModelServiceStub(channel).ListModels(model_pb2.ListModelsRequest(), timeout=10)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_the_port_is_closed_at_the_end(settings, health):
    async with answer_probes(settings, health):
        socket.create_connection((settings.host, settings.health_port)).close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((settings.host, settings.health_port))


async def test_an_open_watch_does_not_keep_it_from_closing(settings, health):
    async with grpc.aio.insecure_channel(settings.at(settings.health_port)) as channel:
        async with answer_probes(settings, health):
            watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=30)
            await watch.read()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await watch.read()
    assert caught.value.code() is not grpc.StatusCode.DEADLINE_EXCEEDED


async def test_without_the_setting_there_is_no_server(health, monkeypatch):
    monkeypatch.setattr(grpc.aio, "server", None)
    async with answer_probes(ServerSettings(), health):
        pass


async def test_a_taken_port_is_told_with_the_name_of_the_setting(settings, health):
    with (
        socket.create_server((settings.host, settings.health_port)),
        pytest.raises(ConfigurationError, match=r"^server\.health_port: cannot listen on 127\.0\.0\.1:"),
    ):
        await answer_probes(settings, health).__aenter__()


@pytest.mark.parametrize("count", [1, 2])
async def test_only_several_processes_of_one_service_share_the_port(settings, health, count):
    shared = settings.model_copy(update={"processes": count})
    async with answer_probes(shared, health):
        second = answer_probes(shared, health)
        if count == 1:
            with pytest.raises(ConfigurationError):
                await second.__aenter__()
        else:
            async with second:
                pass
