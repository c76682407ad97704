"""The image is built from what the repository has. No engine is needed: our own steps are run here."""

import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from support.programs import BIN, ROOT

BUILD, RUNTIME = "build", "runtime"


def instructions(stage: str) -> list[tuple[str, str]]:
    """The instructions of one stage, each with its arguments on one line."""
    text = re.sub(r"^\s*#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = text.replace("\\\n", " ").splitlines()
    pairs = [tuple(line.split(maxsplit=1)) for line in lines if line.strip()]
    starts = [index for index, (name, _) in enumerate(pairs) if name == "FROM"]
    stages = {pairs[a][1].split()[-1]: pairs[a:b] for a, b in zip(starts, [*starts[1:], None], strict=True)}
    return stages[stage]


def arguments(stage: str, instruction: str) -> list[str]:
    return [rest for name, rest in instructions(stage) if name == instruction]


def declared_arguments() -> list[str]:
    lines = re.findall(r"^ARG (.*)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    return [word.partition("=")[0] for line in lines for word in line.split()]


def copied_from_the_context(stage: str) -> list[tuple[list[str], str]]:
    """The sources and the destination of every COPY that takes files of the repository."""
    words = [rest.split() for rest in arguments(stage, "COPY") if not rest.startswith("--from")]
    return [(sources, destination) for *sources, destination in words]


SOURCES = sorted(
    {
        source
        for stage in (BUILD, RUNTIME)
        for sources, _ in copied_from_the_context(stage)
        for source in sources
    }
)


@pytest.fixture(scope="module")
def ignore_rules() -> list[str]:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def test_everything_is_ignored_but_what_is_copied(ignore_rules):
    first, *rules = ignore_rules
    assert first == "*"
    assert sorted(rule.removeprefix("!") for rule in rules if rule.startswith("!")) == SOURCES
    # What is ignored after all is only what is made: the image makes its own.
    assert [rule for rule in rules if not rule.startswith("!")] == ["embedsvc/v1", "**/__pycache__"]


@pytest.mark.parametrize("source", SOURCES)
def test_what_is_copied_exists(source):
    assert (ROOT / source).exists()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> set[str]:
    """The names in the package that the build stage installs: its COPYs and its last two steps, done here."""
    context = tmp_path_factory.mktemp("context")
    ignored = shutil.ignore_patterns("v1", "__pycache__")
    for (source,), destination in copied_from_the_context(BUILD):
        if (ROOT / source).is_dir():
            keep_all = None if source in {"protos", "third_party"} else ignored
            shutil.copytree(ROOT / source, context / destination, ignore=keep_all)
        else:
            shutil.copy(ROOT / source, context / destination)
    generate, install = arguments(BUILD, "RUN")[-2:]
    python = shlex.quote(sys.executable)
    subprocess.run(generate.replace("/opt/tools/bin/python", python), shell=True, cwd=context, check=True)
    assert install.endswith("install --no-deps --no-build-isolation .")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "."]
    subprocess.run([*command, "--wheel-dir", "dist"], cwd=context, check=True)
    (built,) = (context / "dist").iterdir()
    return set(zipfile.ZipFile(built).namelist())


def test_the_package_has_every_module_and_the_generated_ones(wheel):
    folders = (ROOT / "embedsvc", ROOT / "rest_shim")
    modules = {str(path.relative_to(ROOT)) for folder in folders for path in folder.rglob("*.py")}
    assert modules
    assert modules <= wheel


def test_the_package_has_the_data_that_the_code_reads(wheel):
    assert "rest_shim/envoy/openai.lua" in wheel
    data = [path for path in (ROOT / "embedsvc/data").rglob("*") if path.is_file()]
    schemas = [*(ROOT / "embedsvc/store/sqlite").glob("*.sql")]
    assert schemas
    assert {str(path.relative_to(ROOT)) for path in (*data, *schemas)} <= wheel


def test_versions_are_the_locked_ones():
    install = " ".join(arguments(BUILD, "RUN"))
    assert "--requirement requirements/runtime.txt" in install
    assert "--requirement requirements/build.txt --constraint requirements/runtime.txt" in install


def test_both_stages_are_of_one_base_which_a_build_argument_chooses():
    assert [arguments(stage, "FROM") for stage in (BUILD, RUNTIME)] == [
        ["${BASE} AS build"],
        ["${BASE} AS runtime"],
    ]
    text = (ROOT / "Dockerfile").read_text()
    assert re.search(r"^ARG BASE=nvidia/cuda:13\.0\.\d-base-ubuntu24\.04$", text, re.MULTILINE)


def test_the_cpu_build_chooses_arguments_that_the_dockerfile_has(cpu_override):
    build = cpu_override["services"]["embedsvc"]["build"]
    assert set(build["args"]) == {"BASE", "TORCH_INDEX"}
    assert set(build["args"]) <= set(declared_arguments())


def test_nothing_that_builds_is_in_the_image():
    (install,) = arguments(RUNTIME, "RUN")
    packages = re.search(r"--no-install-recommends (.*?) &&", install)[1].split()
    assert packages == ["python3"]
    assert [rest for rest in arguments(RUNTIME, "COPY") if rest.startswith("--from")] == [
        "--from=build /opt/embedsvc /opt/embedsvc"
    ]


def test_no_program_of_the_image_makes_its_caller_somebody_else():
    (install,) = arguments(RUNTIME, "RUN")
    assert "find / -xdev -type f -perm /6000 -exec chmod a-s {} +" in install


def test_labels_say_what_the_image_is_and_what_it_was_made_from():
    (labels,) = arguments(RUNTIME, "LABEL")
    named = dict(re.findall(r'org\.opencontainers\.image\.([\w.]+)="([^"]*)"', labels))
    filled_in = {name: value[2:-1] for name, value in named.items() if value.startswith("${")}
    assert {"title", "description", "licenses"} == set(named) - set(filled_in)
    assert filled_in == {
        "base.name": "BASE",
        "version": "VERSION",
        "revision": "REVISION",
        "created": "CREATED",
        "source": "SOURCE",
    }
    assert set(filled_in.values()) <= set(declared_arguments())


def test_labels_come_last_so_that_a_new_version_builds_nothing_anew():
    assert [name for name, _ in instructions(RUNTIME)][-3:] == ["ARG", "ARG", "LABEL"]


@pytest.mark.parametrize("name", ["Dockerfile", "deploy/convex/Dockerfile"])
def test_hadolint_finds_nothing(name):
    done = subprocess.run([BIN / "hadolint", ROOT / name], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_image_runs_the_server_as_user_1000_and_is_stopped_by_what_drains_it():
    assert arguments(RUNTIME, "USER") == ["1000:1000"]
    assert arguments(RUNTIME, "ENTRYPOINT") == ['["embedsvc"]']
    assert arguments(RUNTIME, "CMD") == ['["serve"]']
    assert arguments(RUNTIME, "STOPSIGNAL") == ["SIGTERM"]


def test_the_image_and_compose_check_health_alike(compose):
    declared = compose["services"]["embedsvc"]["healthcheck"]
    options, _, command = arguments(RUNTIME, "HEALTHCHECK")[0].partition(" CMD ")
    words = [word.removeprefix("--").replace("-", "_").partition("=") for word in options.split()]
    assert {name: value for name, _, value in words} | {"test": command} == {
        name: str(value) for name, value in declared.items()
    } | {"test": str(declared["test"][1:]).replace("'", '"')}


def test_the_template_is_where_the_settings_look_for_it(settings):
    (folder,) = arguments(RUNTIME, "WORKDIR")
    assert (["deploy/embedsvc.toml", "envoy.yaml"], f"{folder}/") in copied_from_the_context(RUNTIME)
    assert settings.edge.template == Path("envoy.yaml")
