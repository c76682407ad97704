"""Images are built as the repository says, and published once they are tested, scanned and signed."""

import os
import re
import subprocess

import pytest
from support.programs import ROOT
from support.workflows import WORKFLOWS, steps_of

DOCKERFILE = (ROOT / "Dockerfile").read_text()


@pytest.fixture
def check():
    return WORKFLOWS["images"]["jobs"]["check"]


@pytest.fixture
def publish():
    return WORKFLOWS["images"]["jobs"]["publish"]


@pytest.fixture
def tag():
    return WORKFLOWS["images"]["jobs"]["tag"]


@pytest.fixture
def published():
    return WORKFLOWS["images"]["jobs"]["published"]


def test_only_what_publishes_may_write_and_only_for_a_tag(publish, tag):
    writers = [
        job
        for workflow in WORKFLOWS.values()
        for job in workflow["jobs"].values()
        if "write" in job.get("permissions", {}).values()
    ]
    assert writers == [publish, tag]
    assert publish["permissions"] == {"contents": "read", "packages": "write", "id-token": "write"}
    assert tag["permissions"] == {"packages": "write"}
    assert publish["if"] == "github.event_name == 'push'"
    assert WORKFLOWS["images"][True]["push"] == {"tags": ["v*.*.*"]}  # YAML reads `on` as a truth


def test_nothing_is_published_before_all_that_ci_runs_has_passed(publish):
    test = WORKFLOWS["images"]["jobs"]["test"]
    assert publish["needs"] == "test"
    assert test["if"] == publish["if"]
    assert test["uses"] == "$/.github/workflows/ci.yml"
    assert "workflow_call" in WORKFLOWS["ci"][True]
    assert not any({"if", "continue-on-error"} & job.keys() for job in WORKFLOWS["ci"]["jobs"].values())


def test_images_are_built_as_compose_builds_them(check, publish, cpu_override):
    assert check["strategy"] == publish["strategy"]
    cuda, cpu = check["strategy"]["matrix"]["include"]
    assert {"BASE": cpu["base"], "TORCH_INDEX": cpu["torch"]} == cpu_override["services"]["embedsvc"][
        "build"
    ]["args"]
    assert f"ARG BASE={cuda['base']}\n" in DOCKERFILE
    assert 'ARG TORCH_INDEX=""' in DOCKERFILE
    assert cuda["torch"] == ""


def test_what_the_build_is_told_is_what_the_dockerfile_asks_for(publish):
    (build,) = (step for step in publish["steps"] if step.get("id") == "build")
    given = {line.partition("=")[0] for line in build["with"]["build-args"].splitlines()}
    declared = re.findall(r"(\w+)=", " ".join(re.findall(r"^ARG (.*)$", DOCKERFILE, re.MULTILINE)))
    assert given == set(declared)


def test_a_published_image_has_an_sbom_and_its_provenance(publish):
    (build,) = (step for step in publish["steps"] if step.get("id") == "build")
    assert build["with"]["sbom"] is True
    assert build["with"]["provenance"] == "mode=max"


def test_a_vulnerability_that_can_be_fixed_stops_the_image(check, publish, published):
    options = WORKFLOWS["images"]["env"]["TRIVY_OPTIONS"]
    for option in ("--severity HIGH,CRITICAL", "--ignore-unfixed", "--exit-code 1"):
        assert option in options
    assert all("$TRIVY_OPTIONS" in steps_of(job) for job in (check, publish, published))
    assert re.fullmatch(r"aquasec/trivy:[\d.]+@sha256:[0-9a-f]{64}", WORKFLOWS["images"]["env"]["TRIVY"])


def test_an_image_is_scanned_before_it_is_signed(publish):
    text = steps_of(publish)
    places = [text.index(word) for word in ("push-by-digest=true", '"$TRIVY" image', "cosign sign")]
    assert places == sorted(places)


def test_images_get_their_tags_when_both_are_scanned_and_signed(publish, tag):
    assert "imagetools create" not in steps_of(publish)
    assert tag["needs"] == "publish"
    assert "if" not in tag  # it would run though one of the two failed
    variants = {each["variant"] for each in publish["strategy"]["matrix"]["include"]}
    assert publish["outputs"] == {name: f"${{{{ steps.signed.outputs.{name} }}}}" for name in variants}
    given = re.findall(r"needs\.publish\.outputs\.(\w+)", steps_of(tag))
    assert set(given) == variants


def test_the_tag_job_gives_each_variant_its_own_tags(tag, tmp_path):
    (step,) = (step for step in tag["steps"] if step.get("name") == "Tag")
    docker = tmp_path / "docker"
    docker.write_text('#!/bin/sh\nprintf "%s " "$5" "$6"\n')
    docker.chmod(0o755)
    environment = {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "CUDA": "image@cuda",
        "CPU": "image@cpu",
        "TAGS": "image:1.2.3\nimage:latest",
    }
    command = ["bash", "-e", "-c", step["run"]]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [
        *("image:1.2.3", "image@cuda", "image:latest", "image@cuda"),
        *("image:1.2.3-cpu", "image@cpu", "image:latest-cpu", "image@cpu"),
    ]
    lacking = subprocess.run(command, env=environment | {"CPU": ""}, capture_output=True, check=False)
    assert (lacking.returncode != 0, lacking.stdout) == (True, b"")


def test_what_is_published_is_scanned_each_week(published, publish):
    assert WORKFLOWS["images"][True]["schedule"] == [{"cron": "17 4 * * 1"}]
    assert "github.event_name == 'schedule'" in published["if"]
    assert published["permissions"] == {"packages": "read"}
    suffixes = [each["suffix"] for each in publish["strategy"]["matrix"]["include"]]
    assert published["strategy"]["matrix"]["tag"] == [f"latest{suffix}" for suffix in suffixes]
    assert '"ghcr.io/${GITHUB_REPOSITORY,,}:$TAG"' in published["steps"][-1]["run"]
