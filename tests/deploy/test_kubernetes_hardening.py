"""Every pod is as locked down as the design says, and as Pod Security's level "restricted" asks.

https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted
"""

import pytest
from support.kustomize import FOLDER, OVERLAYS, build, overlay

ALLOWED_VOLUMES = {"configMap", "emptyDir", "persistentVolumeClaim", "secret"}


def pods_of(name):
    if name == "models":
        return [pod["spec"] for pod in build(FOLDER / "models")]
    return [overlay(name).servers.spec, overlay(name).edges.spec]


@pytest.fixture(params=[*OVERLAYS, "models"])
def specs(request):
    return pods_of(request.param)


@pytest.fixture
def containers(specs):
    return [c for spec in specs for c in [*spec.get("initContainers", []), *spec["containers"]]]


def test_these_are_all_that_make_pods():
    makers = {"Deployment", "Pod", "Job", "CronJob", "StatefulSet", "DaemonSet", "ReplicaSet"}
    for name in OVERLAYS:
        made = [r["metadata"]["name"] for r in overlay(name).resources if r["kind"] in makers]
        assert sorted(made) == ["embedsvc", "embedsvc-edge"]


def test_the_namespace_refuses_anything_less():
    for name in OVERLAYS:
        (namespace,) = overlay(name).of("Namespace").values()
        assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


def test_nobody_is_root(specs, containers):
    for spec in specs:
        context = spec["securityContext"]
        assert context["runAsNonRoot"] is True
        assert (context["runAsUser"], context["runAsGroup"], context["fsGroup"]) == (1000, 1000, 1000)
    assert not any({"runAsUser", "runAsNonRoot"} & set(c["securityContext"]) for c in containers)


def test_system_calls_are_the_runtimes_choice(specs, containers):
    assert all(spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"} for spec in specs)
    assert not any("seccompProfile" in container["securityContext"] for container in containers)


def test_no_capability_is_kept_and_none_can_be_gained(containers):
    for container in containers:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


def test_nothing_of_the_node_is_shared(specs, containers):
    for spec in specs:
        assert not {"hostNetwork", "hostPID", "hostIPC", "hostUsers"} & set(spec)
        assert all(set(volume) - {"name"} <= ALLOWED_VOLUMES for volume in spec["volumes"])
    assert not any("hostPort" in port for c in containers for port in c.get("ports", []))


def test_kubernetes_gives_nobody_a_token(specs):
    assert all(spec["automountServiceAccountToken"] is False for spec in specs)


def test_secrets_are_for_the_pods_own_group_alone(specs):
    modes = {v["secret"]["defaultMode"] for spec in specs for v in spec["volumes"] if "secret" in v}
    assert modes <= {0o440}


def test_memory_and_processors_are_asked_for_and_limited(containers):
    for container in containers:
        for what in ("requests", "limits"):
            assert {"cpu", "memory"} <= set(container["resources"][what])


def test_every_disk_that_comes_with_a_pod_has_an_end(specs):
    disks = [v["emptyDir"] for spec in specs for v in spec["volumes"] if "emptyDir" in v]
    assert all("sizeLimit" in disk for disk in disks)


def test_only_what_must_be_written_to_can_be():
    written = {"/state", "/tmp", "/edge"}
    for name in OVERLAYS:
        servers, edges = overlay(name).servers, overlay(name).edges
        mounts = [m for pods in (servers, edges) for c in pods.containers for m in c["volumeMounts"]]
        assert {m["mountPath"] for m in mounts if not m.get("readOnly")} == written
