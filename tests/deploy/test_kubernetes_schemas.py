"""Every resource follows the schema that its makers publish, and has nothing that they do not know."""

import copy

import kubernetes_validate
import pytest
from cloudcoil.models.cert_manager import v1 as cert_manager
from cloudcoil.models.prometheus_operator import v1 as prometheus_operator
from pydantic import ValidationError
from support.kustomize import FOLDER, OVERLAYS, build, overlay

OLDEST, NEWEST = "1.30", "1.37"
"""Of Kubernetes: the oldest whose preStop can sleep, and the newest whose schemas are published."""

CUSTOM = {"cert-manager.io/v1": cert_manager, "monitoring.coreos.com/v1": prometheus_operator}
"""Models that are generated from the custom resource definitions."""

RELEASES = [OLDEST, NEWEST]


def resources(name):
    return build(FOLDER / "models") if name == "models" else overlay(name).resources


def by_the_model(resource):
    """A custom resource as its model understands it: what it does not know is not there any more."""
    model = getattr(CUSTOM[resource["apiVersion"]], resource["kind"])
    return model.model_validate(resource).model_dump(by_alias=True, exclude_unset=True, mode="json")


@pytest.fixture(params=[*OVERLAYS, "models"])
def all_resources(request):
    return resources(request.param)


@pytest.mark.parametrize("release", RELEASES)
def test_resources_of_kubernetes_follow_its_schemas(all_resources, release):
    own = [resource for resource in all_resources if resource["apiVersion"] not in CUSTOM]
    assert own
    for resource in own:
        kubernetes_validate.validate(resource, release, strict=True)


@pytest.mark.parametrize("name", OVERLAYS)
def test_custom_resources_follow_their_definitions(name):
    custom = [resource for resource in resources(name) if resource["apiVersion"] in CUSTOM]
    assert {resource["kind"] for resource in custom} == {
        "Certificate",
        "Issuer",
        "ServiceMonitor",
        "PodMonitor",
    }
    for resource in custom:
        assert by_the_model(resource) == resource


def changed(kind, *path, to):
    resource = copy.deepcopy(next(iter(overlay("gpu").of(kind).values())))
    at = resource
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = to
    return resource


def test_a_key_that_kubernetes_does_not_know_is_noticed():
    resource = changed("Deployment", "spec", "template", "spec", "gracePeriod", to=5)
    with pytest.raises(kubernetes_validate.ValidationError, match="gracePeriod"):
        kubernetes_validate.validate(resource, NEWEST, strict=True)


def test_a_key_that_a_definition_does_not_know_is_noticed():
    resource = changed("Certificate", "spec", "dnsName", to=["embedsvc"])
    assert by_the_model(resource) != resource


@pytest.mark.parametrize(
    ("kind", "path", "to"),
    [
        ("Certificate", ("spec", "usages"), ["server authentication"]),
        ("Certificate", ("spec", "privateKey", "rotationPolicy"), "Sometimes"),
        ("ServiceMonitor", ("spec", "endpoints"), [{"port": "metrics", "interval": "often"}]),
    ],
)
def test_a_value_that_a_definition_does_not_allow_is_noticed(kind, path, to):
    with pytest.raises(ValidationError):
        by_the_model(changed(kind, *path, to=to))
