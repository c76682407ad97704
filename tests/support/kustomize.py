"""Kubernetes' resources, as the real kubectl builds them."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from functools import cache

import yaml

from support.programs import BIN, ROOT

FOLDER = ROOT / "deploy/kubernetes"
OVERLAYS = ("cpu", "gpu")
SERVER = {"app.kubernetes.io/name": "embedsvc", "app.kubernetes.io/component": "server"}
EDGE = {"app.kubernetes.io/name": "embedsvc", "app.kubernetes.io/component": "edge"}

SECRETS_MADE_BY_HAND = {"embedsvc-api-keys": {"api_keys"}, "embedsvc-convex": {"admin_key"}}
"""Their keys. docs/deploy/kubernetes.md says how they are made."""

Resource = dict


@dataclass(frozen=True)
class Pods:
    """The pods of a Deployment."""

    deployment: Resource

    @property
    def template(self) -> Resource:
        return self.deployment["spec"]["template"]

    @property
    def labels(self) -> dict[str, str]:
        return self.template["metadata"]["labels"]

    @property
    def spec(self) -> Resource:
        return self.template["spec"]

    @property
    def container(self) -> Resource:
        (container,) = self.spec["containers"]
        return container

    @property
    def containers(self) -> list[Resource]:
        return [*self.spec.get("initContainers", []), *self.spec["containers"]]

    @property
    def environment(self) -> dict[str, str]:
        return {each["name"]: each["value"] for each in self.container.get("env", [])}

    @property
    def ports(self) -> dict[str, int]:
        return {port["name"]: port["containerPort"] for port in self.container["ports"]}

    @property
    def volumes(self) -> dict[str, Resource]:
        return {volume["name"]: volume for volume in self.spec["volumes"]}

    def volume_at(self, path: str, container: Resource | None = None) -> Resource:
        """What is mounted at a path of a container's."""
        mounts = (container or self.container)["volumeMounts"]
        (mount,) = (mount for mount in mounts if mount["mountPath"] == path)
        return self.volumes[mount["name"]]

    def selected(self, selector: dict[str, str]) -> bool:
        return selector.items() <= self.labels.items()


@dataclass(frozen=True)
class Cluster:
    """All resources of an overlay."""

    resources: list[Resource]

    def of(self, kind: str) -> dict[str, Resource]:
        """Those of a kind, by name."""
        return {r["metadata"]["name"]: r for r in self.resources if r["kind"] == kind}

    @property
    def servers(self) -> Pods:
        return Pods(self.of("Deployment")["embedsvc"])

    @property
    def edges(self) -> Pods:
        return Pods(self.of("Deployment")["embedsvc-edge"])


def build(folder) -> list[Resource]:
    """What `kubectl apply -k` would send."""
    command = [BIN / "kubectl", "kustomize", folder]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not done.stderr, "kustomize warns of nothing"
    return list(yaml.safe_load_all(done.stdout))


@cache
def overlay(name: str) -> Cluster:
    return Cluster(build(FOLDER / "overlays" / name))
