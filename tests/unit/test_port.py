"""port: ports are held for the processes of one service, and for no other service."""

import socket
from contextlib import ExitStack, closing

import pytest
from support.programs import free_port

from embedsvc import port
from embedsvc.config import ServerSettings
from embedsvc.errors import ConfigurationError


@pytest.fixture
def settings():
    return ServerSettings(port=free_port(), processes=2)


def listening(settings):
    """As gRPC listens in one of several processes."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind((settings.host, settings.port))
    listener.listen()
    return closing(listener)


def test_several_processes_listen_on_a_port_that_is_held(settings):
    with port.hold(settings), listening(settings), listening(settings):
        pass


def test_whoever_holds_it_takes_no_connection(settings):
    with port.hold(settings), pytest.raises(ConnectionRefusedError):
        socket.create_connection((settings.host, settings.port))


@pytest.mark.parametrize("fronts", [0, 2], ids=["while it starts", "when it answers"])
def test_a_second_service_is_told(settings, fronts):
    with ExitStack() as stack:
        stack.enter_context(port.hold(settings))
        for _ in range(fronts):
            stack.enter_context(listening(settings))
        with pytest.raises(
            ConfigurationError, match=rf"^server\.port: cannot listen on {settings.address}: "
        ):
            stack.enter_context(port.hold(settings))


def test_a_port_where_another_program_listens_is_told(settings):
    with (
        socket.create_server((settings.host, settings.port)),
        pytest.raises(ConfigurationError, match=r"^server\.port"),
    ):
        port.hold(settings).__enter__()


def test_connections_of_a_server_that_was_here_before_do_not_hinder(settings):
    with (
        socket.create_server((settings.host, settings.port)) as server,
        socket.create_connection((settings.host, settings.port)),
    ):
        server.accept()[0].close()  # the side that closes first keeps the address for a minute
    with port.hold(settings), listening(settings):
        pass


def test_the_port_for_probes_is_held_too(settings):
    both = settings.model_copy(update={"health_port": free_port()})
    probes = settings.model_copy(update={"port": both.health_port})
    other = both.model_copy(update={"port": free_port()})
    told = rf"^server\.health_port: cannot listen on {probes.address}: "
    with (
        port.hold(both),
        listening(settings),
        listening(probes),
        pytest.raises(ConfigurationError, match=told),
    ):
        port.hold(other).__enter__()
    with port.hold(other):
        pass
