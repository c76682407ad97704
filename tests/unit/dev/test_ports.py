"""ports: a taken one is told before anything is started."""

import socket

import pytest
from support.programs import EDGE_PORTS, free_port

from embedsvc.config import EdgeSettings, MetricsSettings, ServerSettings, Settings
from embedsvc.dev import ports
from embedsvc.errors import ConfigurationError

NAMES = ["server.port", "metrics.port", *(f"edge.{name.lower()}" for name in EDGE_PORTS)]


@pytest.fixture
def settings():
    return Settings(
        server=ServerSettings(port=free_port()),
        metrics=MetricsSettings(port=free_port()),
        edge=EdgeSettings(**{name.lower(): free_port() for name in EDGE_PORTS}),
    )


@pytest.fixture
def listener():
    """Listens on an address."""
    opened = []

    def listen(host, port, family=socket.AF_INET):
        opened.append(socket.socket(family))
        opened[-1].bind((host, port))
        opened[-1].listen()

    yield listen
    for listening in opened:
        listening.close()


def port_of(settings, name):
    section, _, key = name.partition(".")
    return getattr(getattr(settings, section), key)


def test_free_ports_pass_and_stay_free(settings):
    ports.check(settings)
    ports.check(settings)


@pytest.mark.parametrize("name", NAMES)
def test_a_taken_port_is_named_with_the_variable_that_moves_it(settings, listener, name):
    port = port_of(settings, name)
    listener("127.0.0.1", port)
    variable = f"EMBEDSVC_{name.upper().replace('.', '__')}"
    with pytest.raises(ConfigurationError, match=rf"^{name}: 127\.0\.0\.1:{port} is taken .* {variable}$"):
        ports.check(settings)


def test_a_port_of_every_address_is_taken_where_one_is(settings, listener):
    listener("127.0.0.1", settings.edge.port)
    edge = settings.edge.model_copy(update={"host": "0.0.0.0"})
    with pytest.raises(ConfigurationError, match=r"edge\.port"):
        ports.check(settings.model_copy(update={"edge": edge}))


def test_a_port_on_ipv6_is_found_taken(settings, listener):
    listener("::1", settings.server.port, socket.AF_INET6)
    server = settings.server.model_copy(update={"host": "::1"})
    with pytest.raises(ConfigurationError, match=r"server\.port: ::1"):
        ports.check(settings.model_copy(update={"server": server}))


def test_a_port_whose_last_connection_has_just_ended_is_free(settings):
    address = ("127.0.0.1", settings.server.port)
    with socket.create_server(address) as listening, socket.create_connection(address) as client:
        accepted, _ = listening.accept()
        accepted.close()  # the side that closes first waits
        client.recv(1)
    ports.check(settings)
