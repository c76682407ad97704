"""configuration: settings that load, and do not go together."""

import json
from dataclasses import replace

import pytest
from patient import levels, only

from embedsvc.config import EdgeRates, IdentitySettings, ProviderSettings, RemoteModelSettings
from embedsvc.config.edge import UNREACHED
from embedsvc.doctor.configuration import look

STRICT = IdentitySettings(name="search", match=("spiffe://embedsvc.internal/search",))
ENVOY_ID = "spiffe://embedsvc.internal/envoy"


def in_production(patient, **values):
    return patient.having("edge", profile="production", host="0.0.0.0", **values)


def test_development_on_loopback_is_well(patient):
    found = patient.examine(look)
    assert levels(found) == {"ok"}
    assert "models all-MiniLM-L6-v2; store sqlite; edge.profile development" in found[0].seen


def test_a_provider_s_model_with_the_name_of_one_here_is_an_error(patient):
    taken = ProviderSettings(models={"all-MiniLM-L6-v2": RemoteModelSettings(dimensions=384)})
    settings = patient.settings.model_copy(update={"providers": {"sentence-transformers": taken}})
    told = only(replace(patient, settings=settings).examine(look), "error")
    assert "is a name of all-MiniLM-L6-v2, which is served here" in told.seen
    assert told.advice == "Give the provider another name: callers put it before the slash"


def test_production_with_its_defaults_is_well(patient):
    found = in_production(patient).examine(look)
    assert levels(found) == {"ok"}
    assert "edge.rates: address 10/s burst 20, key 100/s burst 50, uri 50/s burst 50" in found[1].seen


def test_an_admin_page_for_everybody_is_an_error(patient):
    told = only(patient.having("edge", admin_host="0.0.0.0").examine(look), "error")
    assert "whoever reaches Envoy's admin page controls Envoy" in told.seen
    assert told.advice.startswith('Set edge.admin_host = "127.0.0.1"')


def test_development_for_everybody_is_a_warning(patient):
    told = only(patient.having("edge", host="0.0.0.0").examine(look), "warning")
    assert "no limits" in told.seen
    assert 'edge.profile = "production"' in told.advice


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_production_for_this_machine_alone_is_a_note(patient, host):
    told = only(in_production(patient).having("edge", profile="production", host=host).examine(look), "note")
    assert "only this machine reaches Envoy" in told.seen


def test_every_page_of_the_web_in_production_is_a_warning(patient):
    told = only(in_production(patient, origins=("*",)).examine(look), "warning")
    assert told.advice == "Name the pages that may in edge.origins"


def test_limits_that_nobody_meets_in_production_are_a_warning(patient):
    told = only(in_production(patient, rates=EdgeRates(key=UNREACHED)).examine(look), "warning")
    assert told.seen.startswith("edge.rates.key: nobody meets it")


def test_an_address_that_may_take_all_is_a_warning(patient):
    told = only(in_production(patient, rates=EdgeRates(address=50)).examine(look), "warning")
    assert "one address alone may take all" in told.seen
    assert told.advice == "Set edge.rates.address below edge.rates.uri"


def test_a_policy_without_envoy_is_an_error_with_the_lines_that_let_it_in(patient):
    told = only(patient.having("auth", identities=(STRICT,)).examine(look), "error")
    assert "is nobody's in auth.identities: servers answer 403" in told.seen
    assert told.advice == f'Add [[auth.identities]] with match = ["{ENVOY_ID}"] and forwards = true'


def test_a_policy_in_which_envoy_does_not_forward_is_an_error(patient):
    anybody = IdentitySettings(name="any", match=("*",))
    told = only(patient.having("auth", identities=(STRICT, anybody)).examine(look), "error")
    assert "of the identity any, which does not forward" in told.seen
    assert json.dumps([ENVOY_ID]) in told.advice


def test_a_policy_is_not_looked_at_where_envoy_is_elsewhere(patient):
    patient.path("edge.crt").unlink()
    away = patient.having("edge", upstreams=("embedsvc:50051",)).having("auth", identities=(STRICT,))
    assert levels(away.examine(look)) == {"ok", "note"}


def test_a_certificate_that_cannot_be_read_is_told_among_the_certificates_alone(patient):
    patient.path("envoy.crt").unlink()
    assert levels(patient.examine(look)) == {"ok"}
