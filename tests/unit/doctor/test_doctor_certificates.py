"""certificates: what nobody would take, and what will soon be so, is told with what to do."""

import shutil

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from patient import days, levels, only
from support import pki as tests_pki

from embedsvc.dev import pki
from embedsvc.doctor import certificates
from embedsvc.doctor.certificates import look

LEAVES = ["server", "envoy", "edge"]


def test_all_is_well_with_what_the_development_ca_has_made(patient):
    found = patient.examine(look)
    assert levels(found) == {"ok"}
    assert len(found) == 5  # the CA, and four roles
    assert "localhost, embedsvc, 127.0.0.1, ::1; 364 days left" in found[1].seen


@pytest.mark.parametrize(("name", "count"), [("server", 1), ("envoy", 1), ("edge", 2), ("ca", 1)])
def test_one_that_is_not_there_is_named_with_what_makes_it(patient, name, count):
    patient.path(f"{name}.crt").unlink()
    errors = [each for each in patient.examine(look) if each.level == "error"]
    assert len(errors) == count
    assert f"{patient.path(name)}.crt: No such file or directory" in errors[0].seen
    assert "`embedsvc init`" in errors[0].advice


@pytest.mark.parametrize("name", ["server.crt", "server.key"])
def test_what_is_no_certificate_or_no_key_is_told(patient, name):
    patient.path(name).write_text("password: hunter2")
    told = only(patient.examine(look), "error")
    assert f"{name}: it is not a " in told.seen
    assert "hunter2" not in told.seen


def test_a_folder_in_the_place_of_a_file_as_docker_makes_it_is_told(patient):
    patient.path("server.crt").unlink()
    patient.path("server.crt").mkdir()
    assert "server.crt: Is a directory" in only(patient.examine(look), "error").seen


def test_the_key_of_another_certificate_is_told(patient):
    shutil.copyfile(patient.path("client.key"), patient.path("server.key"))
    told = only(patient.examine(look), "error")
    assert told.seen.startswith(f"tls.key {patient.path('server.key')} is not the key of tls.certificate")
    assert "together" in told.advice


@pytest.mark.parametrize("name", LEAVES)
def test_one_that_has_expired_is_an_error(patient, name):
    patient.resign(name, ends=days(-3))
    errors = [each for each in patient.examine(look) if each.level == "error"]
    assert f"{name}.crt expired on {days(-3):%Y-%m-%d %H:%M} UTC" in errors[0].seen
    assert errors[0].advice.startswith("Renew it")


@pytest.mark.parametrize("name", LEAVES)
def test_one_that_expires_within_a_month_is_a_warning(patient, name):
    patient.resign(name, ends=days(29.5))
    warnings = [each for each in patient.examine(look) if each.level != "ok"]
    assert {each.level for each in warnings} == {"warning"}
    assert f"{name}.crt expires in 29 days" in warnings[0].seen
    assert warnings[0].advice.startswith("Renew it")


def test_one_with_a_month_to_live_is_well(patient):
    patient.resign("server", ends=days(certificates.SOON + 0.5))
    assert levels(patient.examine(look)) == {"ok"}


def test_one_that_is_not_valid_yet_sends_people_to_the_clock(patient):
    patient.resign("server", begins=days(1))
    told = only(patient.examine(look), "error")
    assert f"is not valid before {days(1):%Y-%m-%d %H:%M} UTC" in told.seen
    assert "clock" in told.advice


def test_one_without_the_name_that_envoy_insists_on_is_told(patient):
    patient.resign("server", SubjectAlternativeName=x509.SubjectAlternativeName([x509.DNSName("localhost")]))
    told = only(patient.examine(look), "error")
    assert "is for localhost, and not for embedsvc" in told.seen
    assert "DNS name embedsvc" in told.advice


def test_one_with_a_common_name_alone_is_told(patient):
    patient.resign("edge", SubjectAlternativeName=None)
    told = [each for each in patient.examine(look) if each.level == "error"]
    assert [each.seen.split()[0] for each in told] == ["edge.public_certificate", "edge.grpc_certificate"]
    assert "no subject alternative name" in told[0].seen


@pytest.mark.parametrize(("name", "usage"), [("server", "server auth"), ("envoy", "client auth")])
def test_one_that_is_for_something_else_is_told(patient, name, usage):
    other = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING])
    patient.resign(name, ExtendedKeyUsage=other)
    told = only(patient.examine(look), "error")
    assert told.seen.endswith(f"is not for {usage}")
    assert usage in told.advice


def test_one_that_may_be_used_for_anything_is_well(patient):
    patient.resign("server", ExtendedKeyUsage=None)
    assert levels(patient.examine(look)) == {"ok"}


def test_one_of_another_ca_is_told_where_ours_must_have_signed_it(patient):
    other = pki.make_ca("another CA")
    for name, identity in (("envoy", pki.make_client(other)), ("edge", pki.make_server(other))):
        tests_pki.write(patient.state.folder, name, identity)
    told = [each for each in patient.examine(look) if each.level == "error"]
    # What the world sees may be anybody's.
    assert [each.seen.split()[0] for each in told] == ["edge.certificate", "edge.grpc_certificate"]
    assert "does not come from the CA in" in told[0].seen


def test_a_chain_by_way_of_another_ca_is_well(patient):
    between = _intermediate(patient)
    leaf = pki.make_server(between)
    tests_pki.write(patient.state.folder, "server", leaf)
    chain = leaf.certificate_pem + between.certificate_pem
    patient.path("server.crt").write_bytes(chain)
    assert levels(patient.examine(look)) == {"ok"}
    patient.path("server.crt").write_bytes(leaf.certificate_pem)
    assert "does not come from the CA" in only(patient.examine(look), "error").seen


def _intermediate(patient):
    """A CA that ours has signed."""
    tests_pki.write(patient.state.folder, "between", made := pki.make_ca("between"))
    builder = (
        x509.CertificateBuilder()
        .subject_name(made.certificate.subject)
        .issuer_name(patient.state.ca.certificate.subject)
        .public_key(made.key.public_key())
        .serial_number(7)
        .not_valid_before(days(-1))
        .not_valid_after(days(300))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    )
    return pki.Identity(
        builder.sign(patient.state.ca.key, made.certificate.signature_hash_algorithm), made.key
    )


def test_a_certificate_in_the_place_of_a_ca_is_told(patient):
    shutil.copyfile(patient.path("client.crt"), patient.path("ca.crt"))
    errors = [each.seen for each in patient.examine(look) if each.level == "error"]
    assert errors[0].endswith("is not a CA's")
    assert "tls.ca" in errors[0]


def test_the_development_ca_is_a_warning_in_production(patient):
    told = only(patient.having("edge", profile="production").examine(look), "warning")
    assert "is the development CA, in production" in told.seen
    assert "docs/identities.md" in told.advice


def test_where_envoy_is_elsewhere_its_files_are_not_missed(patient):
    away = patient.having("edge", upstreams=("embedsvc:50051",))
    away.path("edge.crt").unlink()
    found = away.examine(look)
    assert levels(found) == {"ok", "note"}
    assert "edge.crt is not here" in only(found, "note").seen
