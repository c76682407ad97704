"""revoked: a list that is old, another CA's or against ourselves is told."""

import pytest
from cryptography import x509
from patient import days, levels, only

from embedsvc.dev import pki
from embedsvc.doctor.revoked import look


@pytest.fixture
def listed(patient):
    """Puts a list into its place."""

    def put(*serials, **how):
        path = patient.path("revoked.pem")
        path.write_bytes(patient.revoke(*serials, **how))
        return patient.having("tls", revoked=path).examine(look)

    return put


def serial(patient, name):
    return x509.load_pem_x509_certificate(patient.state.read(f"{name}.crt")).serial_number


def test_without_a_list_there_is_nothing_to_tell(patient):
    assert patient.examine(look) == []


def test_a_fresh_list_of_our_ca_is_well(listed, patient):
    (found,) = listed(serial(patient, "client"), 42)
    assert (found.level, found.seen[-9:]) == ("ok", "2 revoked")


def test_a_list_that_is_out_of_date_is_a_warning(listed):
    told = only(listed(next_update=days(-2)), "warning")
    assert "out of date since" in told.seen
    assert "new list" in told.advice


def test_a_list_of_another_ca_takes_nobody_out(listed):
    told = only(listed(issuer=pki.make_ca("another CA")), "warning")
    assert "not of a CA in tls.ca" in told.seen


def test_a_list_that_somebody_else_has_signed_is_a_warning(listed):
    told = only(listed(issuer=pki.make_ca()), "warning")  # of the same name
    assert "not signed by the CA" in told.seen


def test_envoys_own_certificate_in_it_is_an_error(listed, patient):
    found = listed(serial(patient, "envoy"))
    assert levels(found) == {"ok", "error"}
    assert "servers refuse every call through Envoy" in only(found, "error").seen


def test_in_a_servers_container_it_is_the_health_checks_that_is_in_it(patient):
    elsewhere = {"upstreams": ["embedsvc:50051"], "public_certificate": patient.path("none/edge.crt")}
    patient = patient.having("edge", **elsewhere, public_key=patient.path("none/edge.key"))
    path = patient.path("revoked.pem")
    path.write_bytes(patient.revoke(serial(patient, "envoy")))
    found = patient.having("tls", revoked=path).examine(look)
    assert levels(found) == {"ok", "warning"}
    assert "through Envoy" not in only(found, "warning").seen
    assert "health check" in only(found, "warning").advice


def test_what_cannot_be_read_is_told_among_the_secrets_alone(patient):
    path = patient.path("revoked.pem")
    path.write_text("-----BEGIN X509 CRL-----\nnone\n-----END X509 CRL-----\n")
    assert patient.having("tls", revoked=path).examine(look) == []
