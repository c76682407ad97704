"""Services start when what they need is there, and what is off by default is missed by nobody."""

import pytest

DEFAULT = {"embedsvc", "edge-config", "envoy", "prometheus", "grafana"}
ONE_SHOT = {"edge-config", "convex-key", "convex-deploy"}
CONVEX = {"convex-backend", "convex-key", "convex-deploy", "convex-dashboard"}


@pytest.fixture
def needs(compose) -> dict[str, dict]:
    return {name: service.get("depends_on", {}) for name, service in compose["services"].items()}


def test_what_is_waited_for_is_healthy_or_has_ended_well(needs):
    for dependencies in needs.values():
        for name, how in dependencies.items():
            ended = "service_completed_successfully"
            assert how["condition"] == (ended if name in ONE_SHOT else "service_healthy")


def test_what_ends_is_not_started_again_and_has_no_health(compose):
    restarts = {name for name, service in compose["services"].items() if service["restart"] == "no"}
    unchecked = {name for name, each in compose["services"].items() if each["healthcheck"].get("disable")}
    assert restarts == unchecked == ONE_SHOT


def test_without_a_profile_there_are_servers_envoy_and_what_watches_them(compose):
    assert {name for name, service in compose["services"].items() if "profiles" not in service} == DEFAULT


def test_profiles_bring_convex_and_redis(compose):
    profiles = {name: service.get("profiles") for name, service in compose["services"].items()}
    assert {name for name, chosen in profiles.items() if chosen == ["convex"]} == CONVEX
    assert {name for name, chosen in profiles.items() if chosen == ["cache"]} == {"redis"}


def test_a_service_without_a_profile_does_not_need_one_that_has(compose, needs):
    for name in DEFAULT:
        for needed, how in needs[name].items():
            assert "profiles" not in compose["services"][needed] or how["required"] is False


def test_envoy_waits_for_the_servers_and_they_for_their_store_and_cache(needs):
    assert set(needs["envoy"]) == {"edge-config", "embedsvc"}
    assert set(needs["embedsvc"]) == {"redis", "convex-deploy"}


def test_convexs_functions_are_deployed_once_the_backend_has_made_its_key(needs):
    assert set(needs["convex-deploy"]) == {"convex-key"}
    assert set(needs["convex-key"]) == set(needs["convex-dashboard"]) == {"convex-backend"}
