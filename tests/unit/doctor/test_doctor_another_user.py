"""A person who is not the server's user: what may not be read is told, and nothing fails over it."""

import os

import pytest
from patient import only

from embedsvc.doctor import certificates, command, configuration
from embedsvc.doctor.check import examine

NOBODY = 65_534


@pytest.fixture
async def told(patient):
    """What all checks find in a folder that is somebody else's."""
    settings = patient.having("tls", revoked=patient.path("revoked.pem")).settings
    checks = command._checks(settings)
    await examine(checks, settings)  # what is imported is so by now: nobody may not even do that
    patient.state.folder.chmod(0o000)
    if os.getuid() == 0:  # whom no mode keeps out
        os.seteuid(NOBODY)
    try:
        return await examine(checks, settings)
    finally:
        if os.getuid() == 0:
            os.seteuid(0)
        patient.state.folder.chmod(0o700)


def of(subject, findings):
    return [finding for finding in findings if finding.subject == subject.name]


async def test_it_is_told_of_each_and_nothing_fails(told):
    assert not [each for each in told if "could not be looked at" in each.seen]
    found = of(certificates.SUBJECT, told)
    assert {each.level for each in found} == {"error"}
    assert all("Permission denied" in each.seen for each in found)
    assert only(of(command.sqlite.SUBJECT, told), "error").advice == "Run the doctor as the server's user"
    assert of(configuration.SUBJECT, told)
