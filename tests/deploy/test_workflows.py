"""The workflows are well-formed, may do little, and build what the rest of the repository names."""

import re
import subprocess

import pytest
import yaml
from support.programs import BIN, ROOT

GITHUB = ROOT / ".github"
WORKFLOWS = {path.stem: yaml.safe_load(path.read_text()) for path in sorted((GITHUB / "workflows").iterdir())}
JOBS = [
    pytest.param(job, id=f"{name}: {key}")
    for name, workflow in WORKFLOWS.items()
    for key, job in workflow["jobs"].items()
]
DOCKERFILE = (ROOT / "Dockerfile").read_text()


def steps_of(job: dict) -> str:
    return yaml.safe_dump(job["steps"], sort_keys=False, width=1000)


@pytest.fixture
def check():
    return WORKFLOWS["images"]["jobs"]["check"]


@pytest.fixture
def publish():
    return WORKFLOWS["images"]["jobs"]["publish"]


@pytest.mark.parametrize(
    ("schema", "pattern"), [("github-workflows", "workflows/*.yml"), ("dependabot", "dependabot.yml")]
)
def test_a_file_follows_its_schema(schema, pattern):
    command = [BIN / "check-jsonschema", "--builtin-schema", f"vendor.{schema}", *GITHUB.glob(pattern)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_zizmor_finds_nothing():
    command = [BIN / "zizmor", "--offline", "--quiet", "--config", GITHUB / "zizmor.yml", GITHUB]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("workflow", WORKFLOWS.values(), ids=WORKFLOWS)
def test_a_workflow_may_only_read_and_gives_way_to_a_newer_run_of_a_pull_request(workflow):
    assert workflow["permissions"] == {"contents": "read"}
    assert workflow["concurrency"]["cancel-in-progress"] == "${{ github.event_name == 'pull_request' }}"


def test_only_what_publishes_may_write_and_only_for_a_tag(publish):
    writers = [
        job
        for workflow in WORKFLOWS.values()
        for job in workflow["jobs"].values()
        if "write" in job.get("permissions", {}).values()
    ]
    assert writers == [publish]
    assert publish["permissions"] == {"contents": "read", "packages": "write", "id-token": "write"}
    assert publish["if"] == "github.event_name == 'push'"
    assert WORKFLOWS["images"][True]["push"] == {"tags": ["v*.*.*"]}  # YAML reads `on` as a truth


@pytest.mark.parametrize("job", JOBS)
def test_a_job_ends_and_leaves_no_token_in_its_checkout(job):
    assert job["timeout-minutes"] <= 90
    (checkout,) = (step for step in job["steps"] if step.get("uses", "").startswith("actions/checkout@"))
    assert checkout["with"] == {"persist-credentials": False}


@pytest.mark.parametrize("job", JOBS)
def test_actions_are_of_a_release(job):
    for step in job["steps"]:
        assert "uses" not in step or re.fullmatch(r"[\w/-]+@v\d+(\.\d+\.\d+)?", step["uses"])


def test_ci_runs_what_a_person_runs():
    assert "bash .ci/run" in steps_of(WORKFLOWS["ci"]["jobs"]["test"])


def test_every_file_that_ci_names_exists():
    text = steps_of(WORKFLOWS["ci"]["jobs"]["containers"])
    named = re.findall(r"--file (\S+)", text)
    assert len(named) == 4
    assert all((ROOT / name).is_file() for name in named)
    for name in re.findall(r"/etc/prometheus/([\w.]+)", text):
        assert (ROOT / "deploy/prometheus" / name).is_file()


def test_ci_reads_compose_with_every_profile(compose):
    profiles = {profile for each in compose["services"].values() for profile in each.get("profiles", [])}
    used = set(re.findall(r"--profile (\w+)", steps_of(WORKFLOWS["ci"]["jobs"]["containers"])))
    assert used == profiles


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


def test_a_vulnerability_that_can_be_fixed_stops_the_image(check, publish):
    options = WORKFLOWS["images"]["env"]["TRIVY_OPTIONS"]
    for option in ("--severity HIGH,CRITICAL", "--ignore-unfixed", "--exit-code 1"):
        assert option in options
    assert all("$TRIVY_OPTIONS" in steps_of(job) for job in (check, publish))
    assert re.fullmatch(r"aquasec/trivy:[\d.]+@sha256:[0-9a-f]{64}", WORKFLOWS["images"]["env"]["TRIVY"])


def test_an_image_gets_its_tags_after_it_was_scanned_and_signed(publish):
    text = steps_of(publish)
    places = [
        text.index(word)
        for word in ("push-by-digest=true", '"$TRIVY" image', "cosign sign", "imagetools create")
    ]
    assert places == sorted(places)
