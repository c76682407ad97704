"""ports: free, taken by what is to have them, or by something else."""

import errno
import socket
from contextlib import closing

import pytest
from patient import levels, only
from support.programs import EDGE_PORTS

from embedsvc.doctor import ports
from embedsvc.doctor.ports import look

NAMES = ["server.port", "metrics.port", *(f"edge.{name.lower()}" for name in EDGE_PORTS)]


def port_of(patient, name):
    section, _, key = name.partition(".")
    return getattr(getattr(patient.settings, section), key)


async def test_free_ports_are_well(patient):
    (found,) = await patient.examine_waiting(look)
    assert found.level == "ok"
    assert all(f"{name} 127.0.0.1:{port_of(patient, name)}" in found.seen for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
async def test_a_port_that_another_program_has_is_told_with_how_to_find_it_and_to_move_ours(patient, name):
    port = port_of(patient, name)
    with closing(socket.create_server(("127.0.0.1", port))):  # it answers nobody
        told = only(await patient.examine_waiting(look), "error")
    assert told.seen.startswith(f"{name} 127.0.0.1:{port} is taken")
    assert f"ss -ltnp 'sport = :{port}'" in told.advice
    assert f"EMBEDSVC_{name.upper().replace('.', '__')}" in told.advice


async def test_the_port_of_health_is_looked_at_where_there_is_one(patient):
    (found,) = await patient.having("server", health_port=port_of(patient, "edge.port")).examine_waiting(look)
    assert "server.health_port" in found.seen


async def test_an_address_that_this_machine_does_not_have_is_told(patient):
    errors = [
        each
        for each in await patient.having("metrics", host="192.0.2.1").examine_waiting(look)
        if each.level == "error"
    ]
    assert [each.seen.split()[0] for each in errors] == ["metrics.port"]
    assert errors[0].seen.endswith("cannot be opened: EADDRNOTAVAIL")
    assert errors[0].advice == "Set metrics.host to an address that this machine has"


@pytest.mark.parametrize(("section", "key"), [("edge", "admin_host"), ("server", "host")])
async def test_the_setting_of_the_address_is_named(patient, section, key):
    told = await patient.having(section, **{key: "192.0.2.1"}).examine_waiting(look)
    assert {each.advice for each in told if each.level == "error"} == {
        f"Set {section}.{key} to an address that this machine has"
    }


async def test_a_port_that_only_root_may_open_is_told(patient, monkeypatch):
    low = {443: errno.EACCES}
    monkeypatch.setattr(ports, "find_trouble", lambda listener: low.get(listener.port))
    told = only(await patient.having("edge", tls_port=443).examine_waiting(look), "error")
    assert "edge.tls_port 127.0.0.1:443 may not be opened by this user" in told.seen
    assert "EMBEDSVC_EDGE__TLS_PORT" in told.advice


async def test_ports_of_an_envoy_elsewhere_are_not_looked_at(patient):
    patient.path("edge.crt").unlink()
    away = patient.having("edge", upstreams=("embedsvc:50051",))
    with closing(socket.create_server(("127.0.0.1", port_of(patient, "edge.port")))):
        assert levels(await away.examine_waiting(look)) == {"ok", "note"}
