"""The workflows are well-formed, may do little, and run what the rest of the repository names."""

import re
import subprocess

import pytest
import yaml
from support.programs import BIN, ROOT
from support.workflows import GITHUB, WORKFLOWS, steps_of

JOBS = [
    pytest.param(job, id=f"{name}: {key}")
    for name, workflow in WORKFLOWS.items()
    for key, job in workflow["jobs"].items()
    if "steps" in job  # others call a workflow, which is among these
]


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


def test_a_workflow_that_calls_another_does_not_wait_for_itself():
    groups = [workflow["concurrency"]["group"] for workflow in WORKFLOWS.values()]
    assert groups == [f"{name}-${{{{ github.ref }}}}" for name in WORKFLOWS]


@pytest.mark.parametrize("job", JOBS)
def test_a_job_ends_and_leaves_no_token_in_its_checkout(job):
    assert job["timeout-minutes"] <= 90
    for step in job["steps"]:
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"] == {"persist-credentials": False}


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


def test_dependabot_knows_every_folder_that_npm_has_locked():
    updates = yaml.safe_load((GITHUB / "dependabot.yml").read_text())["updates"]
    (npm,) = (update for update in updates if update["package-ecosystem"] == "npm")
    locks = [path for path in ROOT.glob("[!.]*/**/package-lock.json") if "node_modules" not in path.parts]
    assert sorted(npm["directories"]) == sorted(f"/{path.parent.relative_to(ROOT)}" for path in locks)
