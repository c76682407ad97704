"""buf.gen.*.yaml: what buf makes for each language, and what it asks of plugins that are not here."""

import json
import os
import sys
from pathlib import Path

import pytest
from support.stubs import generate

OURS = ("embedsvc/v1/embedding.proto", "embedsvc/v1/model.proto")
GOOGLES = "google/rpc/status.proto"


@pytest.fixture
def recorded(tmp_path):
    """Lets buf generate with recorders in place of plugins; returns what one was asked for."""

    def ask(language, plugin):
        programs = tmp_path / "bin"
        programs.mkdir()
        for name in ("protoc-gen-go", "protoc-gen-go-grpc", "protoc-gen-java", "protoc-gen-grpc-java"):
            script(programs / name, f"{sys.executable} {Path(__file__).with_name('recorder.py')} {name}")
        # The protoc of grpcio-tools has no Java of its own, so it takes the plugin of that name.
        script(programs / "protoc", f'{sys.executable} -m grpc_tools.protoc "$@"')
        made = generate(language, tmp_path, PATH=f"{programs}{os.pathsep}{os.environ['PATH']}")
        return json.loads((made / f"{plugin}.json").read_text())

    return ask


def script(path, command):
    path.write_text(f"#!/bin/sh\nexec {command}\n")
    path.chmod(0o755)


@pytest.mark.parametrize("plugin", ["protoc-gen-go", "protoc-gen-go-grpc"])
def test_go_code_is_of_one_module_and_takes_googles_from_genproto(recorded, plugin):
    told = recorded("go", plugin)
    assert told["parameter"] == "paths=source_relative"
    assert tuple(told["generate"]) == OURS
    for file in OURS:
        assert told["options"][file]["goPackage"] == "embedsvc.internal/stubs/embedsvc/v1;embedsvcv1"
    googles = told["options"][GOOGLES]["goPackage"]
    assert googles == "google.golang.org/genproto/googleapis/rpc/status;status"


@pytest.mark.parametrize("plugin", ["protoc-gen-java", "protoc-gen-grpc-java"])
def test_java_code_has_a_class_a_file_and_takes_googles_from_its_own_package(recorded, plugin):
    told = recorded("java", plugin)
    assert tuple(told["generate"]) == OURS
    for file in OURS:
        assert told["options"][file]["javaPackage"] == "internal.embedsvc.v1"
        assert told["options"][file]["javaMultipleFiles"] is True
    assert told["options"][GOOGLES]["javaPackage"] == "com.google.rpc"


def test_a_template_makes_the_stubs_of_services_for_services(tmp_path):
    made = generate("python", tmp_path)
    assert {path.name for path in (made / "embedsvc" / "v1").iterdir()} == {
        f"{name}_pb2{end}"
        for name in ("embedding", "model")
        for end in (".py", ".pyi", "_grpc.py", "_grpc.pyi")
    }
    assert not (made / "google").exists()


def test_what_was_made_before_and_is_made_no_more_goes(tmp_path):
    stale = tmp_path / "gen" / "typescript" / "embedsvc" / "v1" / "gone_pb.js"
    stale.parent.mkdir(parents=True)
    stale.touch()
    made = generate("typescript", tmp_path)
    assert not stale.exists()
    assert (made / "google" / "rpc" / "error_details_pb.js").exists()
