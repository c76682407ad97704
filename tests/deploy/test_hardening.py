"""Every container is as locked down as the design says."""

import pytest

SERVICES = ["embedsvc", "edge-config", "envoy", "prometheus"]
LONG_RUNNING = ["embedsvc", "envoy", "prometheus"]


@pytest.fixture
def service(request, compose):
    return compose["services"][request.param]


def test_these_are_all_services(compose):
    assert sorted(compose["services"]) == sorted(SERVICES)


@pytest.mark.parametrize("service", SERVICES, indirect=True)
def test_the_root_is_read_only(service):
    assert service["read_only"] is True


@pytest.mark.parametrize("service", SERVICES, indirect=True)
def test_tmp_is_one_gigabyte_where_nothing_can_be_executed(service):
    (mount,) = service["tmpfs"]
    path, _, options = mount.partition(":")
    assert path == "/tmp"
    assert {"noexec", "nosuid", "nodev", "size=1g"} <= set(options.split(","))


@pytest.mark.parametrize("service", SERVICES, indirect=True)
def test_no_capability_is_kept_and_none_can_be_gained(service):
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"cap_add", "privileged", "devices", "pid", "ipc", "userns_mode"} & set(service)


@pytest.mark.parametrize(
    ("name", "user"),
    [
        ("embedsvc", "1000:1000"),
        ("edge-config", "1000:1000"),
        ("envoy", "1000:1000"),
        ("prometheus", "65534:65534"),
    ],
)
def test_nobody_is_root(compose, name, user):
    assert compose["services"][name]["user"] == user


@pytest.mark.parametrize("service", SERVICES, indirect=True)
def test_memory_and_processors_are_limited(service):
    assert {"cpus", "memory"} <= set(service["deploy"]["resources"]["limits"])


@pytest.mark.parametrize("service", LONG_RUNNING, indirect=True)
def test_health_is_checked_each_30_seconds(service):
    assert service["healthcheck"]["interval"] == "30s"
    assert service["healthcheck"]["test"][0] == "CMD"


def test_the_servers_have_8_gb_4_cpus_and_a_gpu_each_and_are_two(compose):
    deploy = compose["services"]["embedsvc"]["deploy"]
    assert deploy["replicas"] == 2
    assert deploy["resources"]["limits"] == {"cpus": "4", "memory": "8G"}
    assert deploy["resources"]["reservations"]["devices"] == [
        {"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}
    ]


def test_models_are_mounted_read_only_and_a_missing_folder_is_an_error(compose, settings):
    (mount,) = (each for each in compose["services"]["embedsvc"]["volumes"] if isinstance(each, dict))
    assert (mount["type"], mount["read_only"]) == ("bind", True)
    assert mount["target"] == str(settings.models.folder)
    assert mount["bind"] == {"create_host_path": False}


def test_the_servers_have_no_way_to_the_internet(compose, settings):
    assert compose["services"]["embedsvc"]["networks"] == ["backend"]
    assert compose["networks"]["backend"]["internal"] is True
    assert settings.models.hub is False


def test_only_loopback_is_published_by_default(compose):
    published = [port for service in compose["services"].values() for port in service.get("ports", [])]
    assert len(published) == 2
    assert all(port.startswith("127.0.0.1:") for port in published)


@pytest.mark.parametrize(
    ("name", "secrets"),
    [
        ("embedsvc", {"ca.crt", "server.crt", "server.key", "envoy.crt", "envoy.key", "api_keys"}),
        ("edge-config", set()),
        ("envoy", {"ca.crt", "envoy.crt", "envoy.key"}),
        ("prometheus", set()),
    ],
)
def test_a_service_sees_the_secrets_that_it_needs_and_no_others(compose, name, secrets):
    assert set(compose["services"][name].get("secrets", [])) == secrets


def test_no_secret_is_in_the_environment(compose):
    assert not any("environment" in service for service in compose["services"].values())


def test_the_cpu_override_takes_the_gpu_away_and_changes_nothing_but_the_image(compose, cpu_override):
    image = cpu_override["services"]["edge-config"]
    assert set(image) == {"image", "build"}
    assert cpu_override["services"] == {
        "embedsvc": image | {"deploy": {"resources": {"reservations": None}}},
        "edge-config": image,
    }
    assert set(cpu_override["services"]) <= set(compose["services"])
