"""Every container is as locked down as the design says, with Compose and under Coolify."""

import re

import pytest
from support.compose import COOLIFY, MAIN, bind_sources, read_compose

SERVICES = [
    pytest.param(name, service, id=f"{name} of {file}")
    for file in (MAIN, COOLIFY)
    for name, service in read_compose(file)["services"].items()
]
LONG_RUNNING = [each for each in SERVICES if each.values[1]["restart"] != "no"]

USERS = {
    "prometheus": "65534:65534",  # the image's own
    "convex-dashboard": "1001:1001",  # the same
    "grafana": "1000:0",  # the image's data is its group's
}
ROOT_WITHOUT_POWERS = {"convex-backend", "convex-key"}
"""Root alone may run the programs of their image."""

READ_ONLY_ROLES = {"embedsvc": "server", "envoy": "envoy"}


@pytest.mark.parametrize(("name", "service"), SERVICES)
def test_the_root_is_read_only(name, service):
    assert service["read_only"] is True


@pytest.mark.parametrize(("name", "service"), SERVICES)
def test_tmp_is_one_gigabyte_where_nothing_can_be_executed(name, service):
    (mount,) = service["tmpfs"]
    path, _, options = mount.partition(":")
    assert path == "/tmp"
    assert {"noexec", "nosuid", "nodev", "size=1g"} <= set(options.split(","))


@pytest.mark.parametrize(("name", "service"), SERVICES)
def test_no_capability_is_kept_and_none_can_be_gained(name, service):
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"cap_add", "privileged", "devices", "pid", "ipc", "userns_mode"} & set(service)


@pytest.mark.parametrize(("name", "service"), SERVICES)
def test_nobody_is_root_where_the_image_lets_them_be_another(name, service):
    assert service["user"] == ("0:0" if name in ROOT_WITHOUT_POWERS else USERS.get(name, "1000:1000"))


@pytest.mark.parametrize(("name", "service"), SERVICES)
def test_memory_and_processors_are_limited(name, service):
    assert {"cpus", "memory"} <= set(service["deploy"]["resources"]["limits"])


@pytest.mark.parametrize(("name", "service"), LONG_RUNNING)
def test_health_is_checked_each_30_seconds(name, service):
    assert service["healthcheck"]["interval"] == "30s"
    assert service["healthcheck"]["test"][0] == "CMD"


@pytest.mark.parametrize(("name", "service"), SERVICES)
def test_folders_of_the_host_are_read_only_and_never_the_engines_socket(name, service):
    for volume in service.get("volumes", []):
        if isinstance(volume, dict):
            assert volume["read_only"] is True
        elif volume.startswith((".", "/")):
            assert volume.endswith(":ro")
    assert "docker.sock" not in str(service)


@pytest.mark.parametrize(("name", "service"), SERVICES)
def test_no_secret_is_in_the_environment(name, service):
    for variable, value in service.get("environment", {}).items():
        if re.search(r"KEY|SECRET|TOKEN|PASSWORD", variable):
            assert str(value).startswith("/run/secrets/")


@pytest.mark.parametrize(("name", "service"), SERVICES)
def test_only_loopback_is_published_by_default(name, service):
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


def test_a_service_sees_the_secrets_of_its_role_and_no_others(compose):
    seen = {name: bind_sources(each).get("/run/secrets") for name, each in compose["services"].items()}
    assert {name: source.rpartition("/")[2] for name, source in seen.items() if source} == READ_ONLY_ROLES
    assert [name for name, each in compose["services"].items() if each.get("secrets")] == ["grafana"]


def test_the_servers_have_8_gb_4_cpus_and_a_gpu_each_and_are_two(compose, coolify):
    deploy = compose["services"]["embedsvc"]["deploy"]
    assert deploy == coolify["services"]["embedsvc-1"]["deploy"] | {"replicas": 2}
    assert deploy["resources"]["limits"] == {"cpus": "4", "memory": "8G"}
    assert deploy["resources"]["reservations"]["devices"] == [
        {"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}
    ]


def test_a_missing_folder_of_models_or_secrets_is_an_error(compose, settings):
    binds = [
        each
        for name in ("embedsvc", "envoy")
        for each in compose["services"][name]["volumes"]
        if isinstance(each, dict) and each["type"] == "bind"
    ]
    assert {each["target"] for each in binds} == {"/run/secrets", str(settings.models.folder)}
    assert all(each["bind"] == {"create_host_path": False} for each in binds)


def test_the_servers_have_no_way_to_the_internet(compose, settings):
    for name in compose["services"]["embedsvc"]["networks"]:
        assert compose["networks"][name]["internal"] is True
    assert settings.models.hub is False


def test_whoever_joins_the_network_of_callers_reaches_envoy_alone(compose):
    joined = [name for name, each in compose["services"].items() if "callers" in each.get("networks", [])]
    assert joined == ["envoy"]
    assert compose["networks"]["callers"] == {"name": "embedsvc", "internal": True}


def test_redis_is_reached_by_the_servers_alone(compose):
    joined = {name for name, each in compose["services"].items() if "cache" in each.get("networks", [])}
    assert joined == {"embedsvc", "redis"}


def test_redis_keeps_nothing_and_stays_below_its_memory(compose):
    service = compose["services"]["redis"]
    options = dict(zip(service["command"][1::2], service["command"][2::2], strict=True))
    assert (options["--save"], options["--appendonly"]) == ("", "no")
    assert (options["--maxmemory"], service["deploy"]["resources"]["limits"]["memory"]) == ("768mb", "1G")
    assert options["--maxmemory-policy"] == "allkeys-lru"


def test_the_cpu_override_takes_the_gpu_away_and_changes_nothing_but_the_image(compose, cpu_override):
    image = cpu_override["services"]["edge-config"]
    assert set(image) == {"image", "build"}
    assert cpu_override["services"] == {
        "embedsvc": image | {"deploy": {"resources": {"reservations": None}}},
        "edge-config": image,
    }
    assert set(cpu_override["services"]) <= set(compose["services"])
