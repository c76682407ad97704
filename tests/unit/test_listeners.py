"""listeners: the ports of ours, by the settings that name them."""

import socket

import pytest

from embedsvc.config import ServerSettings, Settings
from embedsvc.listeners import find_trouble, of_envoy, of_server


def test_each_port_has_its_setting_its_variable_and_the_setting_of_its_address():
    settings = Settings(server=ServerSettings(health_port=50053))
    found = {
        each.setting: (each.port, each.variable, each.host_setting)
        for each in (*of_server(settings), *of_envoy(settings))
    }
    assert found == {
        "server.port": (50051, "EMBEDSVC_SERVER__PORT", "server.host"),
        "server.health_port": (50053, "EMBEDSVC_SERVER__HEALTH_PORT", "server.host"),
        "metrics.port": (9464, "EMBEDSVC_METRICS__PORT", "metrics.host"),
        "edge.port": (8080, "EMBEDSVC_EDGE__PORT", "edge.host"),
        "edge.tls_port": (8443, "EMBEDSVC_EDGE__TLS_PORT", "edge.host"),
        "edge.grpc_port": (50052, "EMBEDSVC_EDGE__GRPC_PORT", "edge.host"),
        "edge.stats_port": (9902, "EMBEDSVC_EDGE__STATS_PORT", "edge.host"),
        "edge.admin_port": (9901, "EMBEDSVC_EDGE__ADMIN_PORT", "edge.admin_host"),
    }


def test_a_port_that_is_not_set_is_not_ours():
    assert "server.health_port" not in {each.setting for each in of_server(Settings())}


@pytest.mark.parametrize("taken", [True, False])
def test_a_port_that_is_taken_is_trouble(taken):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        port = other.getsockname()[1]
        if not taken:
            other.close()
        (listener, *_) = of_server(Settings(server=ServerSettings(port=port)))
        assert (find_trouble(listener) is not None) == taken
